package overlay

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkPorts wants Services and probes to name ports that their pods have, and
// the one port name and protocol that every strategy understands.
func checkPorts(r rendering) []string {
	var violations []string
	for _, o := range r.objects {
		service, ok := o.(*corev1.Service)
		if !ok {
			continue
		}
		for _, port := range service.Spec.Ports {
			if port.Name != "grpc" || port.AppProtocol == nil || *port.AppProtocol != "kubernetes.io/h2c" {
				violations = append(violations, fmt.Sprintf("%s: port %d, expected name grpc and appProtocol kubernetes.io/h2c", describe(o), port.Port))
			}
			for _, w := range workloads(r.objects) {
				selected := labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(w.template.Labels))
				if selected && !w.hasPort(port.TargetPort) {
					violations = append(violations, fmt.Sprintf("%s: target port %s is none of %s", describe(o), port.TargetPort.String(), describe(w.Object)))
				}
			}
		}
	}
	for _, w := range workloads(r.objects) {
		for _, c := range w.containers() {
			for kind, probe := range map[string]*corev1.Probe{"readiness": c.ReadinessProbe, "liveness": c.LivenessProbe, "startup": c.StartupProbe} {
				if probe == nil {
					continue
				}
				var port intstr.IntOrString
				switch {
				case probe.GRPC != nil:
					port = intstr.FromInt32(probe.GRPC.Port)
				case probe.HTTPGet != nil:
					port = probe.HTTPGet.Port
				}
				if !w.hasPort(port) {
					violations = append(violations, fmt.Sprintf("%s: the %s probe's port %s is none of its ports", describe(w.Object), kind, port.String()))
				}
			}
		}
	}
	return violations
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

// checkTarget wants echo-client's target to lead to something that the overlay
// renders, by a short name, or by the whole one where xDS knows no other.
func checkTarget(r rendering) []string {
	client, ok := find[*appsv1.Deployment](r.objects, "echo-client")
	if !ok {
		return []string{"no Deployment/echo-client"}
	}
	target := flag(client.Spec.Template.Spec.Containers[0].Args, "target")
	wrong := func(format string, args ...any) []string {
		return []string{fmt.Sprintf("Deployment/echo-client: target %q: ", target) + fmt.Sprintf(format, args...)}
	}
	parsed, err := url.Parse(strings.Replace(target, "$(HOST_IP)", "0.0.0.0", 1))
	if err != nil {
		return wrong("%v", err)
	}
	host, port, ok := strings.Cut(strings.TrimPrefix(parsed.Path, "/"), ":")
	if !ok {
		return wrong("no port")
	}
	if parsed.Scheme == "passthrough" {
		for _, w := range workloads(r.objects) {
			if number, err := strconv.ParseInt(port, 10, 32); err == nil && w.hasHostPort(int32(number)) {
				return nil
			}
		}
		return wrong("nothing has hostPort %s", port)
	}
	if parsed.Scheme == "xds" {
		suffix := "." + Namespace(r.name) + ".svc.cluster.local"
		if host, ok = strings.CutSuffix(host, suffix); !ok {
			return wrong("expected <service>%s, as istiod names a Service", suffix)
		}
	}
	service, ok := find[*corev1.Service](r.objects, host)
	if !ok {
		return wrong("no Service has the short name %q", host)
	}
	for _, p := range service.Spec.Ports {
		if port != strconv.Itoa(int(p.Port)) && (parsed.Scheme != "k8s" || port != p.Name) {
			continue
		}
		// A headless name leads to the pods themselves: nothing maps its port to theirs.
		if service.Spec.ClusterIP == corev1.ClusterIPNone && !slices.ContainsFunc(workloads(r.objects), func(w workload) bool {
			return w.hasPort(intstr.FromInt32(p.Port))
		}) {
			return wrong("Service/%s is headless, and no pod listens on its port %d", host, p.Port)
		}
		return nil
	}
	return wrong("Service/%s has no port %s", host, port)
}
