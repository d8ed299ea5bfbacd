package balance

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Verdict says how a client's calls are spread.
type Verdict string

// The verdicts.
const (
	// Balanced: a server is chosen for each call.
	Balanced Verdict = "balanced"
	// Pinned: a server is chosen once a connection, so a client stays on one server.
	Pinned Verdict = "pinned"
	// Unreachable: no call succeeds.
	Unreachable Verdict = "unreachable"
	// Undecided: the objects do not show what decides.
	Undecided Verdict = "undecided"
)

// Path is how the calls of one client reach its servers.
type Path struct {
	Client  Client
	Service *corev1.Service // the servers'; nil if none is known
	Through *corev1.Service // that of the proxy on the way; nil if there is none
	// Proxy is the workload of that proxy, and ProxyAdmin the port of its admin interface.
	Proxy      manifest.Workload
	ProxyAdmin int
	upstream   corev1.ServicePort // that the proxy calls
	gateway    *gatewayv1.Gateway // whose proxy the client calls; nil if it is none
	Servers    []manifest.Workload
	// Elsewhere is where the target leads if it leads out of the objects, or "".
	Elsewhere string
	Verdict   Verdict
	// Because says why the objects do not decide, if the verdict is Undecided.
	Because string
	// Bypasses says that the proxy of the client's mesh leaves the connections as they are.
	Bypasses bool
	// Chooser is who chooses a server, and Among the addresses from which it chooses.
	Chooser, Among string
	// NewPods says when a new pod gets calls.
	NewPods  string
	Findings []Finding
}

// Per says how often a server is chosen: for each call, for each connection, or "" if
// that is not known.
func (p Path) Per() string {
	switch p.Verdict {
	case Balanced:
		return "for each call"
	case Pinned:
		return "for each connection"
	}
	return ""
}

// What new pods wait for.
const (
	atOnce          = "at once"
	onReconnect     = "when the client connects again"
	onResolution    = "when the client resolves the name again: after it loses a connection"
	onAge           = "after the servers' MaxConnectionAge of "
	onProxysRefresh = "when the proxy resolves the name again"
)

// Paths judges every client.
func (c *Cluster) Paths() []Path {
	if c.paths == nil {
		c.paths = []Path{}
		for _, client := range c.Clients() {
			c.paths = append(c.paths, c.Judge(client))
		}
	}
	return c.paths
}

// Judge works out how a client's calls reach their servers.
func (c *Cluster) Judge(client Client) Path {
	p := Path{Client: client, Verdict: Undecided}
	if client.Problem != "" {
		p.unreachable(client.Pods.Object, client.Target.Text, "target %q: %s", client.Target.Text, client.Problem)
		return p
	}
	e := c.lead(client.Target, client.Pods)
	switch {
	case e.unknown && !client.Marked:
		p.Because = e.problem
	case e.problem != "":
		if p.Service = e.service; p.Service == nil {
			p.Service = e.meant
		}
		p.unreachable(client.Pods.Object, client.Target.Text, "target %q: %s", client.Target.Text, e.problem)
	case e.node.Object != nil:
		c.throughNode(&p, e.node)
		c.nodePolicies(&p, e.node)
	case e.gateway != nil:
		c.throughGateway(&p, e)
	case e.elsewhere != "":
		p.Elsewhere = e.elsewhere
		p.Because = "the target leads to " + e.elsewhere + ", of which the objects show nothing"
	case e.pod != "":
		p.Service, p.Servers = e.service, c.Selected(e.service)
		p.Verdict, p.Chooser, p.Among, p.NewPods = Pinned, "the target", "the pod "+e.pod+" alone", "never: the target names one pod"
	default:
		p.Service, p.Servers = e.service, c.Selected(e.service)
		first := p.Servers
		c.throughService(&p, e)
		c.byAge(&p)
		if p.Verdict == Balanced && len(p.Servers) == 0 && p.Service != nil && len(p.Service.Spec.Selector) > 0 && !c.live {
			p.Verdict, p.Because = Undecided, "Service/"+p.Service.Name+" selects the pods of no workload among the objects"
		}
		c.ways(&p, first, manifest.TargetPort(e.port))
	}
	c.certificateNames(&p)
	return p
}

func (p *Path) unreachable(o manifest.Object, value, format string, args ...any) {
	p.Verdict = Unreachable
	p.find("client-target", o, value, format, args...)
}

func (p *Path) find(name string, o manifest.Object, value, format string, args ...any) {
	p.Findings = append(p.Findings, newFinding(name, o, value, format, args...))
}

// throughService judges a client whose target is a Service.
func (c *Cluster) throughService(p *Path, e end) {
	s := e.service
	if meant := p.Client.Policy.misspelt(); meant != "" {
		p.Verdict = Unreachable
		p.find("client-policy", p.Client.Pods.Object, p.Client.Policy.Name, "policy %q is not registered in gRPC, expected %s", p.Client.Policy.Name, meant)
		return
	}
	switch {
	case p.Client.Target.Scheme == "xds":
		p.byXDS(s)
	case p.Client.Target.Scheme == k8sresolver.Scheme:
		p.Among, p.NewPods = "the ready pods", atOnce
		p.byClient("the EndpointSlices give every pod")
	case p.Client.Mesh == IstioSidecar || p.Client.Mesh == Linkerd2:
		c.byMesh(p, s, e.port)
	case !Headless(s) && c.waypoint(s, p.Client.Pods):
		p.Client.Mesh = IstioWaypoint
		c.byMesh(p, s, e.port)
	case Headless(s):
		p.Among, p.NewPods = "the pods in DNS", onResolution
		p.byClient("the name gives every pod")
	default:
		p.byKubeProxy(s)
	}
	c.throughProxy(p)
}

// byClient judges a client that gets the addresses of all pods.
func (p *Path) byClient(because string) {
	p.Chooser = "the client"
	policy := p.Client.Policy
	switch {
	case p.Client.Target.Scheme == "passthrough":
		p.Verdict, p.NewPods = Pinned, onReconnect
		p.find("client-policy", p.Client.Pods.Object, p.Client.Target.Text, "target %q: passthrough connects to one address of the name, expected dns:///", p.Client.Target.Text)
	case policy.UsesAll():
		p.Verdict = Balanced
		if p.NewPods == onResolution {
			note := newFinding("dns-scale-out", p.Client.Pods.Object, "", "the client does not see new pods until it loses a connection, and no setting of the servers names a MaxConnectionAge")
			note.Advice = true
			p.Findings = append(p.Findings, note)
		}
	case policy.Undecided():
		p.Verdict, p.Because = Undecided, "the client's program can set a policy that manifests do not show"
	default:
		p.Verdict, p.NewPods = Pinned, onReconnect
		p.find("client-policy", p.Client.Pods.Object, policy.Name, "policy %s: the client calls one pod alone, although %s; expected a policy that uses all, such as round_robin", policy, because)
	}
}

// byAge corrects what new pods wait for, if the servers end connections by their age.
// The setting is known by its name, which programs choose.
func (c *Cluster) byAge(p *Path) {
	if p.NewPods != onResolution && p.NewPods != onReconnect {
		return
	}
	for _, w := range p.Servers {
		for _, container := range w.Template.Spec.Containers {
			for _, s := range c.settings(w, container) {
				name := strings.ReplaceAll(strings.ToLower(s.name), "_", "-")
				if age, err := time.ParseDuration(s.value); err != nil || age <= 0 || !strings.HasSuffix(name, "max-connection-age") {
					continue
				}
				p.NewPods = onAge + s.value
				p.Findings = slices.DeleteFunc(p.Findings, func(f Finding) bool { return f.Name == "dns-scale-out" })
				return
			}
		}
	}
}

// byKubeProxy judges a client of a cluster IP that no proxy follows.
func (p *Path) byKubeProxy(s *corev1.Service) {
	p.Verdict, p.Chooser, p.NewPods = Pinned, "kube-proxy", onReconnect
	p.Among = kubeProxyAmong(s)
	if p.Client.Policy.UsesAll() {
		p.find("service-kind", s, "", "has a cluster IP, expected clusterIP: None: the client's policy %s would see one address", p.Client.Policy.Name)
		return
	}
	p.find("cluster-ip", s, "", "has a cluster IP: kube-proxy chooses a pod once a connection, and a gRPC client keeps one connection; expected a headless Service and a policy such as round_robin, k8s:///, or a mesh")
}

func kubeProxyAmong(s *corev1.Service) string {
	switch policy := s.Spec.InternalTrafficPolicy; {
	case s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP:
		return "the pod that the client's address had before"
	case policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal:
		return "the ready pods of the client's node"
	}
	return "the ready pods"
}

// byMesh judges a client whose connections a proxy of a mesh takes over.
func (c *Cluster) byMesh(p *Path, s *corev1.Service, port corev1.ServicePort) {
	mesh := string(p.Client.Mesh)
	if Headless(s) {
		// The sidecar passes connections to a pod's address on as they are.
		p.Among, p.NewPods = "the pods in DNS", onResolution
		if p.Client.Policy.UsesAll() {
			p.byClient("")
			return
		}
		p.Verdict, p.Chooser = Pinned, "the client"
		p.find("service-kind", s, "clusterIP: None", "is headless, expected a cluster IP: a mesh does not balance calls to a headless Service")
		return
	}
	p.Verdict, p.Chooser, p.Among, p.NewPods = Pinned, mesh, "the ready pods", onReconnect
	if o, why := c.bypass(p.Client, s, port); why != "" {
		p.Chooser, p.Bypasses = "kube-proxy", true
		p.find("mesh-bypass", o, "", "%s: %s does not choose a pod for each call to port %d of Service/%s", why, mesh, port.Port, s.Name)
		return
	}
	if opaque := c.opaqueTo(p.Client.Mesh, s, port); opaque != "" {
		instead := ""
		if text := strings.ToLower(opaque); strings.HasSuffix(text, "https") || strings.Contains(text, " tls") {
			instead = ", and servers without TLS of their own: the mesh can encrypt"
		}
		p.find("mesh-protocol", s, opaque, "port %d: %s treats %s as TCP and chooses a pod once a connection; expected appProtocol: kubernetes.io/h2c%s", port.Port, mesh, opaque, instead)
		return
	}
	if http1 := http1To(p.Client.Mesh, port); http1 != "" && !c.upgrades(s) {
		p.Verdict, p.NewPods = Unreachable, ""
		p.find("mesh-protocol", s, http1, "port %d: %s takes %s for HTTP/1.1, which gRPC does not use; expected appProtocol: kubernetes.io/h2c", port.Port, mesh, http1)
		return
	}
	p.Verdict, p.NewPods = Balanced, atOnce
}

// byXDS judges a client that asks istiod for its servers.
func (p *Path) byXDS(s *corev1.Service) {
	p.Chooser, p.Among, p.NewPods = "the client (xDS)", "the ready pods", atOnce
	switch {
	case p.Client.Mesh != IstioAgent && p.Client.bootstraps():
		p.Verdict, p.Because = Undecided, "the client asks a control plane of its own bootstrap file, which the objects do not show"
	case p.Client.Mesh != IstioAgent:
		p.Verdict = Unreachable
		p.find("xds-agent", p.Client.Pods.Object, "", "target %q needs the gRPC agent of Istio, which is not injected: expected the annotation inject.istio.io/templates: grpc-agent", p.Client.Target.Text)
	case Headless(s):
		p.Verdict = Unreachable
		p.find("service-kind", s, "clusterIP: None", "is headless, expected a cluster IP: a mesh does not balance calls to a headless Service")
	default:
		p.Verdict = Balanced
	}
}

// bootstraps says whether the client has a bootstrap file of its own for xDS.
// Source: gRFC A27.
func (c Client) bootstraps() bool {
	return c.Settings["grpc-xds-bootstrap"] != "" || c.Settings["grpc-xds-bootstrap-config"] != ""
}
