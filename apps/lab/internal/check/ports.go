package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var servicePortRule = Rule{Name: "service-port", Remedy: "name the port grpc, with appProtocol kubernetes.io/h2c, or https where the pods have a certificate", objects: checkServicePorts}

// checkServicePorts wants the one port name and protocol that every strategy understands.
func checkServicePorts(r manifest.Rendering, wrong reportObject) {
	server, _ := manifest.Component(r.Objects, manifest.Server)
	want := "kubernetes.io/h2c"
	if endsTLS(manifest.MainContainer(server.Spec.Template)) {
		want = "https"
	}
	for _, service := range manifest.All[*corev1.Service](r.Objects) {
		for _, port := range service.Spec.Ports {
			if port.Name != "grpc" || port.AppProtocol == nil || *port.AppProtocol != want {
				wrong(service, "", "port %d, expected name grpc and appProtocol %s", port.Port, want)
			}
		}
	}
}

// endsTLS says whether a program has a certificate, so that its port for calls takes TLS alone.
func endsTLS(c corev1.Container) bool { return manifest.Setting(c, "tls-cert") != "" }

var serviceTargetPortRule = Rule{Name: "service-target-port", Remedy: "name a port of the pods that the Service selects", objects: checkTargetPorts}

// checkTargetPorts wants Services to lead to ports that their pods have.
func checkTargetPorts(r manifest.Rendering, wrong reportObject) {
	for _, service := range manifest.All[*corev1.Service](r.Objects) {
		if len(service.Spec.Selector) == 0 {
			continue // it selects no pods: somebody else writes its endpoints, or it is an alias
		}
		for _, port := range service.Spec.Ports {
			target := manifest.TargetPort(port)
			for _, w := range manifest.Workloads(r.Objects) {
				selected := labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(w.Template.Labels)) &&
					(service.Namespace == w.GetNamespace() || service.Namespace == "" || w.GetNamespace() == "")
				if selected && !w.HasPort(target) && declared(r, target) {
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

var probePortRule = Rule{Name: "probe-port", Remedy: "probe a port of the container's pod, and under TLS one that serves health without it, such as that of --health-port, or use an exec probe", objects: checkProbePorts}

// checkProbePorts wants probes to ask at ports that the pod has, and that take what the
// kubelet sends: it shows no certificate, and speaks gRPC without TLS (KEP-4939).
func checkProbePorts(r manifest.Rendering, wrong reportObject) {
	where := cluster(r)
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
				if !w.HasPort(port) && declared(r, port) {
					wrong(w.Object, "port: "+port.String(), "container %s: the %s probe's port %s is not a port of the pod", c.Name, kind, port.String())
				}
				plaintext := probe.GRPC != nil || probe.HTTPGet != nil && probe.HTTPGet.Scheme != corev1.URISchemeHTTPS
				if why := takesTLS(where, w, c, port); plaintext && why != "" {
					wrong(w.Object, "port: "+port.String(), "container %s: the %s probe asks port %s, which takes TLS alone: %s", c.Name, kind, port.String(), why)
				}
			}
		}
	}
}

// certificate matches the name of a setting that gives a server its certificate.
var certificate = regexp.MustCompile(`^(server-?)?(tls|ssl)-?(server-?)?(cert|certificate|crt)(-?(file|path))?$`)

// takesTLS says why a port of a pod takes TLS alone, or is "": a Service says so, or its
// container has a certificate and no other port.
func takesTLS(where *balance.Cluster, w manifest.Workload, c corev1.Container, port intstr.IntOrString) string {
	if endsTLS(c) && port.String() == manifest.Setting(c, "port") {
		return "the container has a certificate"
	}
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return manifest.IsPort(p, port) })
	if i < 0 {
		return ""
	}
	for _, s := range where.ServicesOf(w) {
		for _, p := range s.Spec.Ports {
			if manifest.IsPort(c.Ports[i], manifest.TargetPort(p)) && p.AppProtocol != nil && strings.EqualFold(*p.AppProtocol, "https") {
				return fmt.Sprintf("Service/%s has appProtocol %s", s.Name, *p.AppProtocol)
			}
		}
	}
	if setting := where.SettingLike(w, c, certificate); setting != "" && len(c.Ports) == 1 {
		return "the container has a certificate by " + setting
	}
	return ""
}

// declared says whether a port has to be among the containers' ports: one by name, and in
// this repository any. A container can listen at a number that it does not declare.
// Source: the API reference of Container, field ports.
func declared(r manifest.Rendering, port intstr.IntOrString) bool {
	return port.Type == intstr.String || r.Name != ""
}

func probes(c corev1.Container) map[string]*corev1.Probe {
	return map[string]*corev1.Probe{"readiness": c.ReadinessProbe, "liveness": c.LivenessProbe, "startup": c.StartupProbe}
}
