package manifest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkServicePorts wants the one port name and protocol that every strategy understands.
func checkServicePorts(r rendering, wrong reportObject) {
	for _, service := range all[*corev1.Service](r.objects) {
		for _, port := range service.Spec.Ports {
			if port.Name != "grpc" || port.AppProtocol == nil || *port.AppProtocol != "kubernetes.io/h2c" {
				wrong(service, "", "port %d, expected name grpc and appProtocol kubernetes.io/h2c", port.Port)
			}
		}
	}
}

// checkTargetPorts wants Services to lead to ports that their pods have.
func checkTargetPorts(r rendering, wrong reportObject) {
	for _, service := range all[*corev1.Service](r.objects) {
		for _, port := range service.Spec.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port) // Kubernetes' default
			}
			for _, w := range workloads(r.objects) {
				selected := labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(w.template.Labels))
				if selected && !w.hasPort(target) {
					wrong(service, "targetPort: "+target.String(), "target port %s is none of %s", target.String(), describe(w.Object))
				}
			}
		}
	}
}

// checkProbes wants a container that listens to be asked whether it is ready
// and alive.
func checkProbes(r rendering, wrong reportObject) {
	for _, w := range workloads(r.objects) {
		for _, c := range w.template.Spec.Containers {
			if len(c.Ports) > 0 && (c.ReadinessProbe == nil || c.LivenessProbe == nil) {
				wrong(w.Object, "", "container %s: it has ports, and no readiness or no liveness probe", c.Name)
			}
		}
	}
}

// checkProbePorts wants probes to ask at ports that the pod has.
func checkProbePorts(r rendering, wrong reportObject) {
	for _, w := range workloads(r.objects) {
		for _, c := range w.containers() {
			for kind, probe := range probes(c) {
				if probe == nil {
					continue
				}
				var port intstr.IntOrString
				switch {
				case probe.GRPC != nil:
					port = intstr.FromInt32(probe.GRPC.Port)
				case probe.HTTPGet != nil:
					port = probe.HTTPGet.Port
				case probe.TCPSocket != nil:
					port = probe.TCPSocket.Port
				default:
					continue // a command
				}
				if !w.hasPort(port) {
					wrong(w.Object, "port: "+port.String(), "container %s: the %s probe's port %s is none of the pod's", c.Name, kind, port.String())
				}
			}
		}
	}
}

func probes(c corev1.Container) map[string]*corev1.Probe {
	return map[string]*corev1.Probe{"readiness": c.ReadinessProbe, "liveness": c.LivenessProbe, "startup": c.StartupProbe}
}

func (w workload) hasPort(port intstr.IntOrString) bool {
	for _, c := range w.containers() {
		for _, p := range c.Ports {
			if port.Type == intstr.Int && p.ContainerPort == port.IntVal || port.Type == intstr.String && p.Name == port.StrVal {
				return true
			}
		}
	}
	return false
}

// dialed is where the client's target leads.
type dialed struct {
	client       *appsv1.Deployment
	container    corev1.Container
	target       string
	scheme, host string // a Service's host is its short name
	port         string
}

// dialedBy reads the client's target, or says what is wrong with it.
func dialedBy(r rendering) (d dialed, problem string) {
	client, ok := component(r.objects, Client)
	if !ok {
		return d, "no client"
	}
	d.client, d.container = client, first(client.Spec.Template)
	d.target = setting(d.container, "target")
	parsed, err := url.Parse(d.target)
	if err != nil {
		return d, err.Error()
	}
	d.scheme = parsed.Scheme
	if d.host, d.port, err = net.SplitHostPort(strings.TrimPrefix(parsed.Path, "/")); err != nil {
		if address, ok := errors.AsType[*net.AddrError](err); ok {
			return d, address.Err
		}
		return d, err.Error()
	}
	if d.scheme == "xds" && !strings.HasSuffix(d.host, ".") { // istiod completes a name, and takes no last dot
		d.host = shortName(r, d.host)
	}
	return d, ""
}

// longName is what DNS and istiod know a Service by, beside its name alone: with
// its namespace, with "svc" and with the cluster's domain, whatever that is.
var longName = regexp.MustCompile(`^([a-z0-9-]+)\.([a-z0-9-]+)(\.svc((\.[a-z0-9-]+)+\.?)?)?$`)

// shortName returns the name of the overlay's Service that a host stands for; a
// host that is none stays as it is.
func shortName(r rendering, host string) string {
	if match := longName.FindStringSubmatch(host); match != nil && match[2] == Namespace(r.name) {
		return match[1]
	}
	return host
}

// checkTarget wants the client's target to lead to something that the overlay
// renders.
func checkTarget(r rendering, wrong reportObject) {
	d, problem := dialedBy(r)
	if d.client == nil {
		return // checkComponents says so
	}
	if problem == "" {
		problem = leadsNowhere(r, d)
	}
	if problem != "" {
		wrong(d.client, d.target, "target %q: %s", d.target, problem)
	}
}

// leadsNowhere says why a target leads to nothing, or "".
func leadsNowhere(r rendering, d dialed) string {
	if d.scheme == "passthrough" {
		for _, w := range workloads(r.objects) {
			if number, err := strconv.ParseInt(d.port, 10, 32); err == nil && w.hasHostPort(int32(number)) {
				return ""
			}
		}
		return "nothing has hostPort " + d.port
	}
	service, ok := find[*corev1.Service](r.objects, d.host)
	if !ok {
		return fmt.Sprintf("no Service has the short name %q", d.host)
	}
	for _, p := range service.Spec.Ports {
		if d.port != strconv.Itoa(int(p.Port)) && (d.scheme != "k8s" || d.port != p.Name) {
			continue
		}
		// A headless name leads to the pods themselves: nothing maps its port to theirs.
		if headless(service) && !slices.ContainsFunc(workloads(r.objects), func(w workload) bool {
			return w.hasPort(intstr.FromInt32(p.Port))
		}) {
			return fmt.Sprintf("Service/%s is headless, and no pod listens on its port %d", d.host, p.Port)
		}
		return ""
	}
	return fmt.Sprintf("Service/%s has no port %s", d.host, d.port)
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// checkServiceKind wants the Service that the client dials to be headless
// where the client chooses among the pods, and to have an address where
// kube-proxy or a mesh does.
func checkServiceKind(r rendering, wrong reportObject) {
	d, problem := dialedBy(r)
	service, ok := find[*corev1.Service](r.objects, d.host)
	if problem != "" || !ok {
		return // checkTarget says so
	}
	mesh := injected(r) || d.scheme == "xds"
	chooses := !mesh && (d.scheme == "k8s" || d.scheme == "dns" && d.byName() == "dns")
	switch {
	case chooses && !headless(service):
		wrong(service, "", "has a cluster IP, expected clusterIP: None: the client would see one address")
	case mesh && headless(service):
		wrong(service, "clusterIP: None", "is headless, expected a cluster IP: a mesh balances no headless Service")
	case !chooses && headless(service):
		wrong(service, "clusterIP: None", "is headless, expected a cluster IP: the client keeps to the first address")
	}
}
