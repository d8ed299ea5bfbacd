package check

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var servicePortRule = Rule{Name: "service-port", Remedy: "name the port grpc, with appProtocol kubernetes.io/h2c", objects: checkServicePorts}

// checkServicePorts wants the one port name and protocol that every strategy understands.
func checkServicePorts(r manifest.Rendering, wrong reportObject) {
	for _, service := range manifest.All[*corev1.Service](r.Objects) {
		for _, port := range service.Spec.Ports {
			if port.Name != "grpc" || port.AppProtocol == nil || *port.AppProtocol != "kubernetes.io/h2c" {
				wrong(service, "", "port %d, expected name grpc and appProtocol kubernetes.io/h2c", port.Port)
			}
		}
	}
}

var serviceTargetPortRule = Rule{Name: "service-target-port", Remedy: "name a port of the pods that the Service selects", objects: checkTargetPorts}

// checkTargetPorts wants Services to lead to ports that their pods have.
func checkTargetPorts(r manifest.Rendering, wrong reportObject) {
	for _, service := range manifest.All[*corev1.Service](r.Objects) {
		for _, port := range service.Spec.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port) // Kubernetes' default
			}
			for _, w := range manifest.Workloads(r.Objects) {
				selected := labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(w.Template.Labels))
				if selected && !w.HasPort(target) {
					wrong(service, "targetPort: "+target.String(), "target port %s is none of %s", target.String(), manifest.Describe(w.Object))
				}
			}
		}
	}
}

var probeRule = Rule{Name: "probe", Remedy: "give each container that has ports a readiness and a liveness probe", objects: checkProbes}

// checkProbes wants a container that listens to be asked whether it is ready
// and alive.
func checkProbes(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Template.Spec.Containers {
			if len(c.Ports) > 0 && (c.ReadinessProbe == nil || c.LivenessProbe == nil) {
				wrong(w.Object, "", "container %s: it has ports, but no readiness or no liveness probe", c.Name)
			}
		}
	}
}

var probePortRule = Rule{Name: "probe-port", Remedy: "probe a port of the container's pod", objects: checkProbePorts}

// checkProbePorts wants probes to ask at ports that the pod has.
func checkProbePorts(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Containers() {
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
				if !w.HasPort(port) {
					wrong(w.Object, "port: "+port.String(), "container %s: the %s probe's port %s is none of the pod's", c.Name, kind, port.String())
				}
			}
		}
	}
}

func probes(c corev1.Container) map[string]*corev1.Probe {
	return map[string]*corev1.Probe{"readiness": c.ReadinessProbe, "liveness": c.LivenessProbe, "startup": c.StartupProbe}
}

var clientTargetRule = Rule{Name: "client-target", Remedy: "use a Service, or a hostPort, that the overlay renders", objects: checkTarget}

// checkTarget wants the client's target to lead to something that the overlay
// renders.
func checkTarget(r manifest.Rendering, wrong reportObject) {
	client, ok := manifest.Component(r.Objects, manifest.Client)
	if !ok {
		return // checkComponents says so
	}
	t, problem := r.Target()
	if problem == "" {
		problem = leadsNowhere(r, t)
	}
	if problem != "" {
		wrong(client, t.Text, "target %q: %s", t.Text, problem)
	}
}

// leadsNowhere says why a target leads to nothing, or "".
func leadsNowhere(r manifest.Rendering, t manifest.Target) string {
	if t.Scheme == "passthrough" {
		for _, w := range manifest.Workloads(r.Objects) {
			if number, err := strconv.ParseInt(t.Port, 10, 32); err == nil && w.HasHostPort(int32(number)) {
				return ""
			}
		}
		return "nothing has hostPort " + t.Port
	}
	service, ok := manifest.Get[*corev1.Service](r.Objects, t.Host)
	if !ok {
		return fmt.Sprintf("no Service has the short name %q", t.Host)
	}
	for _, p := range service.Spec.Ports {
		if t.Port != strconv.Itoa(int(p.Port)) && (t.Scheme != "k8s" || t.Port != p.Name) {
			continue
		}
		// A headless name leads to the pods themselves: nothing maps its port to theirs.
		if headless(service) && !slices.ContainsFunc(manifest.Workloads(r.Objects), func(w manifest.Workload) bool {
			return w.HasPort(intstr.FromInt32(p.Port))
		}) {
			return fmt.Sprintf("Service/%s is headless, and no pod listens on its port %d", t.Host, p.Port)
		}
		return ""
	}
	return fmt.Sprintf("Service/%s has no port %s", t.Host, t.Port)
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

var serviceKindRule = Rule{Name: "service-kind", Remedy: "add the component headless if the client balances its calls itself; remove it if not", objects: checkServiceKind}

// checkServiceKind wants the Service that the client dials to be headless
// where the client chooses among the pods, and to have an address where
// kube-proxy or a mesh does.
func checkServiceKind(r manifest.Rendering, wrong reportObject) {
	t, problem := r.Target()
	service, ok := manifest.Get[*corev1.Service](r.Objects, t.Host)
	if problem != "" || !ok {
		return // checkTarget says so
	}
	v := r.View()
	mesh := v.Injected || t.Scheme == "xds"
	chooses := !mesh && (t.Scheme == "k8s" || t.Scheme == "dns" && v.Balances())
	switch {
	case chooses && !headless(service):
		wrong(service, "", "has a cluster IP, expected clusterIP: None: the client would see one address")
	case mesh && headless(service):
		wrong(service, "clusterIP: None", "is headless, expected a cluster IP: a mesh does not balance calls to a headless Service")
	case !chooses && headless(service):
		wrong(service, "clusterIP: None", "is headless, expected a cluster IP: the client uses only the first address")
	}
}
