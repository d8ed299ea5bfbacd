package balance

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// EnvoyOf returns the Envoy configuration that is mounted into a workload's pods, and
// the ConfigMap that holds it, or nil. Its error says why it cannot be read.
func (c *Cluster) EnvoyOf(w manifest.Workload) (*corev1.ConfigMap, Envoy, error) {
	configMap, content := c.mountedWith(w, "static_resources")
	if configMap == nil {
		return nil, Envoy{}, nil
	}
	e, err := ReadEnvoy([]byte(content))
	return configMap, e, err
}

// mountedWith returns the mounted ConfigMap whose file has the text, and that file.
func (c *Cluster) mountedWith(w manifest.Workload, text string) (*corev1.ConfigMap, string) {
	for _, volume := range w.Template.Spec.Volumes {
		if volume.ConfigMap == nil {
			continue
		}
		configMap := c.configMap(volume.ConfigMap.Name, w.GetNamespace())
		if configMap == nil {
			continue
		}
		for _, key := range sortedNames(configMap.Data) {
			if strings.Contains(configMap.Data[key], text) {
				return configMap, configMap.Data[key]
			}
		}
	}
	return nil, ""
}

// throughNode judges a client that calls a port of its own node.
func (c *Cluster) throughNode(p *Path, proxy manifest.Workload) {
	p.Chooser, p.Among = manifest.Describe(proxy.Object)+" on the client's node", "unknown"
	// Linkerd 1 names its own parts so.
	if configMap, _ := c.mountedWith(proxy, "io.l5d."); configMap != nil {
		p.Verdict, p.Among, p.NewPods = Balanced, "the ready pods", atOnce
	}
}

// throughProxy judges what a proxy behind the Service does with the calls. The way
// of the client to the proxy does not matter then: each proxy chooses for each call.
func (c *Cluster) throughProxy(p *Path, e end) {
	for _, w := range p.Servers {
		configMap, envoy, err := c.EnvoyOf(w)
		if configMap == nil || p.Verdict == Unreachable {
			continue
		}
		p.Findings = nil
		p.Chooser, p.Among, p.NewPods = manifest.Describe(w.Object), "the pods in DNS", onProxysRefresh
		p.Verdict = Balanced
		if err != nil {
			p.Verdict = Undecided
			return
		}
		for _, cluster := range envoy.StaticResources.Clusters {
			for _, to := range cluster.Addresses() {
				c.judgeUpstream(p, w, configMap, envoy, cluster, to)
			}
		}
	}
}

// judgeUpstream judges one address that Envoy calls.
func (c *Cluster) judgeUpstream(p *Path, proxy manifest.Workload, configMap *corev1.ConfigMap, envoy Envoy, cluster EnvoyCluster, to EnvoyAddress) {
	if to == envoy.Admin.Address {
		return
	}
	wrong := func(verdict Verdict, rule, format string, args ...any) {
		p.Verdict = verdict
		p.find(rule, configMap, "", "cluster %s at %v: %s", cluster.Name, to, fmt.Sprintf(format, args...))
	}
	t := Target{Scheme: "dns", Host: to.SocketAddress.Address, Port: fmt.Sprint(to.SocketAddress.PortValue)}
	end := c.lead(t, proxy)
	switch {
	case end.problem != "":
		wrong(Unreachable, "envoy-config", "%s", end.problem)
	case end.service == nil:
		p.Verdict = Undecided
	case !Headless(end.service):
		wrong(Pinned, "envoy-config", "the Service is not headless: Envoy would see one address")
	case !slices.ContainsFunc(c.Selected(end.service), func(w manifest.Workload) bool {
		return w.HasPort(intstr.FromInt32(to.SocketAddress.PortValue))
	}):
		wrong(Unreachable, "envoy-config", "no pod of the Service listens on that port")
	default:
		p.Service, p.Servers = end.service, c.Selected(end.service)
	}
	if one := cluster.OneAddress(); one != "" {
		wrong(Pinned, "envoy-discovery", "%s", one)
	}
	if !cluster.SpeaksHTTP2() {
		wrong(Unreachable, "envoy-http2", "Envoy calls the servers by HTTP/1.1, which gRPC does not speak; expected typed_extension_protocol_options with http2_protocol_options")
	}
}
