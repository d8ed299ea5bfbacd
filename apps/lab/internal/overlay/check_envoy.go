package overlay

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// envoyConfig is the part of Envoy's configuration that must fit the objects
// around it. Envoy itself, run by a test, validates the whole.
type envoyConfig struct {
	Admin struct {
		Address envoyAddress `json:"address"`
	} `json:"admin"`
	StaticResources struct {
		Listeners []struct {
			Name    string       `json:"name"`
			Address envoyAddress `json:"address"`
		} `json:"listeners"`
		Clusters []envoyCluster `json:"clusters"`
	} `json:"static_resources"`
}

type envoyCluster struct {
	Name           string `json:"name"`
	LoadAssignment struct {
		Endpoints []struct {
			LBEndpoints []struct {
				Endpoint struct {
					Address envoyAddress `json:"address"`
				} `json:"endpoint"`
			} `json:"lb_endpoints"`
		} `json:"endpoints"`
	} `json:"load_assignment"`
	HealthChecks []struct {
		Interval        string `json:"interval"`
		GRPCHealthCheck struct {
			ServiceName string `json:"service_name"`
		} `json:"grpc_health_check"`
	} `json:"health_checks"`
}

type envoyAddress struct {
	SocketAddress struct {
		Address   string `json:"address"`
		PortValue int32  `json:"port_value"`
	} `json:"socket_address"`
}

func (a envoyAddress) String() string {
	return fmt.Sprintf("%s:%d", a.SocketAddress.Address, a.SocketAddress.PortValue)
}

// checkEnvoy wants Envoy's configuration, where there is one, to fit the pods
// and the Services around it.
func checkEnvoy(r rendering) []string {
	deployment, ok := find[*appsv1.Deployment](r.objects, "envoy")
	if !ok {
		return nil
	}
	pods := workload{deployment, deployment.Spec.Selector, &deployment.Spec.Template}
	file := argument(pods.template.Spec.Containers[0].Args, "--config-path")
	content, ok := mounted(r.objects, pods, file)
	if !ok {
		return []string{fmt.Sprintf("Deployment/envoy: no ConfigMap is mounted as its --config-path %q", file)}
	}
	var config envoyConfig
	if err := yaml.Unmarshal([]byte(content), &config); err != nil {
		return []string{"envoy.yaml: " + oneLine(err)}
	}
	var violations []string
	wrong := func(format string, args ...any) {
		violations = append(violations, "envoy.yaml: "+fmt.Sprintf(format, args...))
	}
	admin := config.Admin.Address
	if admin.SocketAddress.Address != "127.0.0.1" {
		wrong("admin listens on %v, expected 127.0.0.1: it can end the process", admin)
	}
	var ports []int32
	for _, l := range config.StaticResources.Listeners {
		ports = append(ports, l.Address.SocketAddress.PortValue)
		if !pods.hasPort(intstr.FromInt32(l.Address.SocketAddress.PortValue)) || l.Address.SocketAddress.Address != "0.0.0.0" {
			wrong("listener %s at %v, expected 0.0.0.0 and a port of the pod", l.Name, l.Address)
		}
	}
	for _, p := range pods.template.Spec.Containers[0].Ports {
		if !slices.Contains(ports, p.ContainerPort) {
			wrong("nothing listens on the pod's port %d (%s)", p.ContainerPort, p.Name)
		}
	}
	for _, c := range config.StaticResources.Clusters {
		for _, to := range c.addresses() {
			if to == admin {
				continue
			}
			if why := leadsToPods(r, to); why != "" {
				wrong("cluster %s at %v: %s", c.Name, to, why)
			}
			violations = append(violations, checkEnvoyHealth(r, c)...)
		}
	}
	return append(violations, checkEnvoyDrain(pods)...)
}

func (c envoyCluster) addresses() []envoyAddress {
	var all []envoyAddress
	for _, e := range c.LoadAssignment.Endpoints {
		for _, lb := range e.LBEndpoints {
			all = append(all, lb.Endpoint.Address)
		}
	}
	return all
}

// leadsToPods says why an address is not that of a headless Service's pods, or "".
func leadsToPods(r rendering, to envoyAddress) string {
	service, ok := find[*corev1.Service](r.objects, to.SocketAddress.Address)
	if !ok {
		return "no Service has that short name"
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		return "the Service is not headless: Envoy would see one address"
	}
	for _, w := range workloads(r.objects) {
		if w.template.Labels[nameLabel] == service.Spec.Selector[nameLabel] && w.hasPort(intstr.FromInt32(to.SocketAddress.PortValue)) {
			return ""
		}
	}
	return "no pod of the Service listens on that port"
}

// checkEnvoyHealth wants Envoy to ask for the health of the one gRPC service,
// more often than a leaving server waits before it stops.
func checkEnvoyHealth(r rendering, c envoyCluster) []string {
	if len(c.HealthChecks) != 1 {
		return []string{fmt.Sprintf("envoy.yaml: cluster %s has %d health checks, expected 1", c.Name, len(c.HealthChecks))}
	}
	var violations []string
	check := c.HealthChecks[0]
	if check.GRPCHealthCheck.ServiceName != "com.example.grpc.EchoService" {
		violations = append(violations, fmt.Sprintf("envoy.yaml: cluster %s: checks the health of %q, expected com.example.grpc.EchoService", c.Name, check.GRPCHealthCheck.ServiceName))
	}
	server, ok := find[*appsv1.Deployment](r.objects, "echo-server")
	if !ok {
		return violations
	}
	delay, err := time.ParseDuration(flag(server.Spec.Template.Spec.Containers[0].Args, "drain-delay"))
	if err != nil {
		return violations // checkDrain says so
	}
	if interval, err := time.ParseDuration(check.Interval); err != nil || interval >= delay {
		violations = append(violations, fmt.Sprintf("envoy.yaml: cluster %s: health_checks.interval %q, expected less than echo-server's --drain-delay=%v", c.Name, check.Interval, delay))
	}
	return violations
}

var sleep = regexp.MustCompile(`(?m)^sleep ([0-9]+)$`)

// checkEnvoyDrain wants preStop to outlast Envoy's drain, and the kubelet to
// outlast preStop.
func checkEnvoyDrain(pods workload) []string {
	c := pods.template.Spec.Containers[0]
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Exec == nil {
		return []string{"Deployment/envoy: no preStop command: Envoy ends at once on SIGTERM"}
	}
	script := strings.Join(c.Lifecycle.PreStop.Exec.Command, "\n")
	var violations []string
	if !strings.Contains(script, "POST /drain_listeners?graceful ") {
		violations = append(violations, "Deployment/envoy: preStop does not ask for a graceful drain")
	}
	match := sleep.FindStringSubmatch(script)
	if match == nil {
		return append(violations, "Deployment/envoy: preStop does not sleep")
	}
	slept, _ := strconv.ParseInt(match[1], 10, 64)
	drain, err := strconv.ParseInt(argument(c.Args, "--drain-time-s"), 10, 64)
	if err != nil || slept <= drain {
		violations = append(violations, fmt.Sprintf("Deployment/envoy: preStop sleeps %d s, expected more than --drain-time-s %q", slept, argument(c.Args, "--drain-time-s")))
	}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := pods.template.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = *s
	}
	if grace <= slept {
		violations = append(violations, fmt.Sprintf("Deployment/envoy: terminationGracePeriodSeconds is %d, expected more than the %d that preStop sleeps", grace, slept))
	}
	return violations
}

// mounted returns the content of the file that a ConfigMap puts at a path in
// the workload's first container.
func mounted(objects []Object, w workload, file string) (string, bool) {
	for _, mount := range w.template.Spec.Containers[0].VolumeMounts {
		for _, volume := range w.template.Spec.Volumes {
			if mount.Name != volume.Name || mount.MountPath != path.Dir(file) || volume.ConfigMap == nil {
				continue
			}
			if configMap, ok := find[*corev1.ConfigMap](objects, volume.ConfigMap.Name); ok {
				content, ok := configMap.Data[path.Base(file)]
				return content, ok
			}
		}
	}
	return "", false
}

// argument returns the argument that follows the named one, or "".
func argument(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
