package manifest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// ComponentLabel is the label of the two Deployments that every overlay has. The
// lab finds them by this label, because the services of other people have names
// of their own.
const ComponentLabel = "app.kubernetes.io/component"

// The values of ComponentLabel.
const (
	Server = "server"
	Client = "client"
)

// Rendering is the objects that an overlay or a variant renders, and its name.
type Rendering struct {
	Name    string
	Objects []Object
}

// Components returns the Deployments that carry a value of ComponentLabel.
func Components(objects []Object, part string) []*appsv1.Deployment {
	return slices.DeleteFunc(All[*appsv1.Deployment](objects), func(d *appsv1.Deployment) bool { return d.Labels[ComponentLabel] != part })
}

// Component returns the first Deployment that carries a value of ComponentLabel,
// or an empty one.
func Component(objects []Object, part string) (*appsv1.Deployment, bool) {
	if found := Components(objects, part); len(found) > 0 {
		return found[0], true
	}
	return &appsv1.Deployment{}, false
}

// GRPCService returns the gRPC service that the server's readiness probe names,
// or "".
func GRPCService(objects []Object) string {
	server, _ := Component(objects, Server)
	if probe := MainContainer(server.Spec.Template).ReadinessProbe; probe != nil && probe.GRPC != nil && probe.GRPC.Service != nil {
		return *probe.GRPC.Service
	}
	return ""
}

// Target is the parsed target of the client.
type Target struct {
	Text   string // as the client gets it
	Scheme string // such as dns or k8s
	Host   string // the short name of the overlay's Service where it names one
	Port   string // a number, or a name where the scheme allows it
}

// Target parses the client's target. The problem says what is wrong with it, or
// is "".
func (r Rendering) Target() (t Target, problem string) {
	client, ok := Component(r.Objects, Client)
	if !ok {
		return t, "no client"
	}
	t.Text = Setting(MainContainer(client.Spec.Template), "target")
	parsed, err := url.Parse(t.Text)
	if err != nil {
		return t, err.Error()
	}
	t.Scheme = parsed.Scheme
	if t.Host, t.Port, err = net.SplitHostPort(strings.TrimPrefix(parsed.Path, "/")); err != nil {
		if address, ok := errors.AsType[*net.AddrError](err); ok {
			return t, address.Err
		}
		return t, err.Error()
	}
	if t.Scheme == "xds" && !strings.HasSuffix(t.Host, ".") { // istiod completes a name, and does not accept a final dot
		t.Host = r.ShortName(t.Host)
	}
	return t, ""
}

// longName is a Service's name with its namespace, as DNS and istiod know it: also
// with "svc", and with the cluster's domain, whatever that is.
var longName = regexp.MustCompile(`^([a-z0-9-]+)\.([a-z0-9-]+)(\.svc((\.[a-z0-9-]+)+\.?)?)?$`)

// ShortName returns the name of the overlay's Service that a host stands for. It
// returns any other host unchanged.
func (r Rendering) ShortName(host string) string {
	if match := longName.FindStringSubmatch(host); match != nil && match[2] == Namespace(r.Name) {
		return match[1]
	}
	return host
}

// View is what tells which strategy an overlay follows.
type View struct {
	Target           Target
	Policy           string // the client's --lb-policy, or ""
	Injected         bool   // Istio injects a sidecar into every pod of the namespace
	Server           string // the name of the server's Deployment and Service
	MaxConnectionAge string // the server's --max-connection-age, or ""
}

// View returns what tells which strategy the rendering follows.
func (r Rendering) View() View {
	target, _ := r.Target()
	client, _ := Component(r.Objects, Client)
	server, _ := Component(r.Objects, Server)
	return View{
		Target: target,
		Policy: Setting(MainContainer(client.Spec.Template), "lb-policy"),
		Injected: slices.ContainsFunc(All[*corev1.Namespace](r.Objects), func(n *corev1.Namespace) bool {
			return n.Labels["istio-injection"] == "enabled"
		}),
		Server:           server.Name,
		MaxConnectionAge: Setting(MainContainer(server.Spec.Template), "max-connection-age"),
	}
}

// ByName says whether the client resolves its target by name, rather than by
// Kubernetes' API, by xDS or not at all.
func (v View) ByName() bool {
	return !slices.Contains([]string{"k8s", "xds", "passthrough"}, v.Target.Scheme)
}

// Dials says whether the client resolves the name of the Service itself, and no
// sidecar balances its calls.
func (v View) Dials(service string) bool {
	return v.ByName() && !v.Injected && v.Target.Host == service
}

// Balances says whether the client's policy uses all addresses of the target. Every
// policy of gRPC does, except pick_first, which is gRPC's default.
func (v View) Balances() bool { return v.Policy != "" && v.Policy != "pick_first" }

// View returns what tells which strategy an overlay or a variant follows.
func (r *Repository) View(name string) (View, error) {
	rendered, err := r.Render(name)
	if err != nil {
		return View{}, err
	}
	objects, err := Decode(rendered)
	if err != nil {
		return View{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return Rendering{name, objects}.View(), nil
}
