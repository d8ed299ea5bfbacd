package check

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// unspecified says whether a listener at the address is reachable from everywhere, by
// IPv4 or by IPv6.
func unspecified(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.IsUnspecified()
}

// loopback says whether a listener at the address is reachable from its pod alone.
func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.IsLoopback()
}

// envoy is what runs Envoy, as describe names it.
const envoy = "Deployment/envoy"

var envoyConfigRule = Rule{Name: "envoy-config", Remedy: "make envoy/envoy.yaml match the Deployment and the Services", objects: checkEnvoy}

// checkEnvoy wants Envoy's configuration, where there is one, to fit the pods
// and the Services around it.
func checkEnvoy(r manifest.Rendering, report reportObject) {
	pods, ok := manifest.WorkloadNamed(r.Objects, envoy)
	if !ok {
		return
	}
	file := argument(manifest.MainContainer(*pods.Template).Args, "--config-path")
	at, content := mounted(r.Objects, pods, file)
	if at == nil {
		report(pods.Object, file, "no ConfigMap is mounted as its --config-path %q", file)
		return
	}
	wrong := func(format string, args ...any) { report(at, "", "%s", fmt.Sprintf("envoy.yaml: "+format, args...)) }
	config, err := balance.ReadEnvoy([]byte(content))
	if err != nil {
		wrong("%s", manifest.OneLine(err))
		return
	}
	admin := config.Admin.Address
	if !loopback(admin.SocketAddress.Address) {
		wrong("admin listens on %v, expected 127.0.0.1 or ::1: the port can end the process", admin)
	}
	var ports []int32
	for _, l := range config.StaticResources.Listeners {
		ports = append(ports, l.Address.SocketAddress.PortValue)
		if !pods.HasPort(intstr.FromInt32(l.Address.SocketAddress.PortValue)) || !unspecified(l.Address.SocketAddress.Address) {
			wrong("listener %s at %v, expected ::, or 0.0.0.0, and a port of the pod", l.Name, l.Address)
		}
	}
	for _, p := range manifest.MainContainer(*pods.Template).Ports {
		if !slices.Contains(ports, p.ContainerPort) {
			wrong("nothing listens on the pod's port %d (%s)", p.ContainerPort, p.Name)
		}
	}
	for _, c := range config.StaticResources.Clusters {
		if slices.ContainsFunc(c.Addresses(), func(to balance.EnvoyAddress) bool { return to != admin }) {
			checkEnvoyHealth(r, c, wrong)
		}
	}
}

// checkEnvoyHealth wants Envoy to ask for the health of the one gRPC service,
// more often than a leaving server waits before it stops.
func checkEnvoyHealth(r manifest.Rendering, c balance.EnvoyCluster, wrong func(format string, args ...any)) {
	if len(c.HealthChecks) != 1 {
		wrong("cluster %s has %d health checks, expected 1", c.Name, len(c.HealthChecks))
		return
	}
	check := c.HealthChecks[0]
	if want := manifest.GRPCService(r.Objects); check.GRPCHealthCheck.ServiceName != want {
		wrong("cluster %s: checks the health of %q, expected %q as the server's probe", c.Name, check.GRPCHealthCheck.ServiceName, want)
	}
	server, ok := manifest.Component(r.Objects, manifest.Server)
	if !ok {
		return
	}
	delay, err := time.ParseDuration(manifest.Setting(manifest.MainContainer(server.Spec.Template), "drain-delay"))
	if err != nil {
		return // checkDrain says so
	}
	if interval, err := time.ParseDuration(check.Interval); err != nil || interval >= delay {
		wrong("cluster %s: health_checks.interval %q, expected less than %s's --drain-delay=%v", c.Name, check.Interval, server.Name, delay)
	}
}

var sleep = regexp.MustCompile(`(?m)^sleep ([0-9]+)$`)

var envoyDrainRule = Rule{Name: "envoy-drain", Remedy: "let preStop start a graceful drain and sleep longer than --drain-time-s; set terminationGracePeriodSeconds to more than that sleep", objects: checkEnvoyDrain}

// checkEnvoyDrain wants preStop to outlast Envoy's drain, and the kubelet to
// outlast preStop.
func checkEnvoyDrain(r manifest.Rendering, report reportObject) {
	pods, ok := manifest.WorkloadNamed(r.Objects, envoy)
	if !ok {
		return
	}
	wrong := func(value, format string, args ...any) { report(pods.Object, value, format, args...) }
	c := manifest.MainContainer(*pods.Template)
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Exec == nil {
		wrong("", "no preStop command: Envoy exits at once on SIGTERM")
		return
	}
	script := strings.Join(c.Lifecycle.PreStop.Exec.Command, "\n")
	if !strings.Contains(script, "POST /drain_listeners?graceful ") {
		wrong("preStop", "preStop does not ask for a graceful drain")
	}
	match := sleep.FindStringSubmatch(script)
	if match == nil {
		wrong("preStop", "preStop does not sleep")
		return
	}
	slept, _ := strconv.ParseInt(match[1], 10, 64)
	drain, err := strconv.ParseInt(argument(c.Args, "--drain-time-s"), 10, 64)
	if err != nil || slept <= drain {
		wrong("preStop", "preStop sleeps %d s, expected more than --drain-time-s %q", slept, argument(c.Args, "--drain-time-s"))
	}
	if grace := graceOf(pods.Template.Spec); grace <= time.Duration(slept)*time.Second {
		wrong("terminationGracePeriodSeconds", "terminationGracePeriodSeconds is %.0f, expected more than the %d that preStop sleeps", grace.Seconds(), slept)
	}
}

// mounted returns the ConfigMap that is mounted as a file of the workload's
// first container, and the file's content, or nil.
func mounted(objects []manifest.Object, w manifest.Workload, file string) (*corev1.ConfigMap, string) {
	for _, mount := range manifest.MainContainer(*w.Template).VolumeMounts {
		for _, volume := range w.Template.Spec.Volumes {
			if mount.Name != volume.Name || mount.MountPath != path.Dir(file) || volume.ConfigMap == nil {
				continue
			}
			if configMap, ok := manifest.Get[*corev1.ConfigMap](objects, volume.ConfigMap.Name); ok {
				if content, ok := configMap.Data[path.Base(file)]; ok {
					return configMap, content
				}
				return nil, ""
			}
		}
	}
	return nil, ""
}

// argument returns the argument that follows the named one, or "".
func argument(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
