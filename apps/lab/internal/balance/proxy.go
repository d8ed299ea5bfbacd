package balance

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

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

// EnvoyConfig is an Envoy's configuration, and the ConfigMap that holds it.
type EnvoyConfig struct {
	In      *corev1.ConfigMap
	Content string
}

// EnvoyConfigs returns the configurations of all proxies.
func (c *Cluster) EnvoyConfigs() []EnvoyConfig {
	var all []EnvoyConfig
	for _, w := range c.Proxies() {
		configMap, content := c.mountedWith(w, "static_resources")
		all = append(all, EnvoyConfig{configMap, content})
	}
	return all
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

// throughProxy judges what a proxy behind the Service does with the calls. The way of
// the client to the proxies does not matter then: each proxy chooses for each call.
func (c *Cluster) throughProxy(p *Path) {
	for _, w := range p.Servers {
		up, ok := c.Upstream(w)
		if !ok || p.Verdict == Unreachable {
			continue
		}
		p.Chooser, p.Among, p.NewPods = manifest.Describe(w.Object), "the pods in DNS", onProxysRefresh
		p.Verdict, p.Findings = up.Verdict, up.Findings
		if up.Service != nil {
			p.Through, p.Proxy, p.ProxyAdmin, p.upstream = p.Service, w, up.Admin, up.port
			p.Service, p.Servers = up.Service, c.Selected(up.Service)
		}
		return
	}
}

// Upstream is what a proxy calls.
type Upstream struct {
	Service  *corev1.Service // nil if none is known
	port     corev1.ServicePort
	Admin    int // port of the proxy's admin interface, or 0
	Verdict  Verdict
	Findings []Finding
}

// Proxies returns the workloads that have an Envoy configuration.
func (c *Cluster) Proxies() []manifest.Workload {
	var found []manifest.Workload
	for _, w := range c.workloads {
		if configMap, _, _ := c.EnvoyOf(w); configMap != nil {
			found = append(found, w)
		}
	}
	return found
}

// Upstream judges how an Envoy calls its servers. It is false of a workload without
// an Envoy configuration.
func (c *Cluster) Upstream(proxy manifest.Workload) (up Upstream, ok bool) {
	configMap, envoy, err := c.EnvoyOf(proxy)
	if configMap == nil {
		return up, false
	}
	if err != nil || len(envoy.DynamicResources) > 0 {
		return Upstream{Verdict: Undecided}, true
	}
	up.Verdict, up.Admin = Balanced, int(envoy.Admin.Address.SocketAddress.PortValue)
	for _, cluster := range envoy.StaticResources.Clusters {
		for _, to := range cluster.Addresses() {
			if to != envoy.Admin.Address {
				c.judgeUpstream(&up, proxy, configMap, cluster, to)
			}
		}
	}
	return up, true
}

// judgeUpstream judges one address that Envoy calls.
func (c *Cluster) judgeUpstream(up *Upstream, proxy manifest.Workload, configMap *corev1.ConfigMap, cluster EnvoyCluster, to EnvoyAddress) {
	wrong := func(verdict Verdict, rule, format string, args ...any) {
		up.Verdict = verdict
		seen := fmt.Sprintf("envoy.yaml: cluster %s at %v: %s", cluster.Name, to, fmt.Sprintf(format, args...))
		up.Findings = append(up.Findings, newFinding(rule, configMap, "", "%s", seen))
	}
	if ip, err := netip.ParseAddr(to.SocketAddress.Address); err == nil && ip.IsLoopback() {
		wrong(Unreachable, "envoy-upstream", "no Service has a loopback address, and the admin port is elsewhere")
		return
	}
	end := c.lead(Target{Scheme: "dns", Host: to.SocketAddress.Address, Port: fmt.Sprint(to.SocketAddress.PortValue)}, proxy)
	if end.service != nil {
		up.Service, up.port = end.service, end.port
	}
	switch {
	case end.service != nil && end.elsewhere == "" && !Headless(end.service):
		wrong(Pinned, "envoy-upstream", "the Service is not headless: Envoy would see one address")
	case end.problem != "":
		wrong(Unreachable, "envoy-upstream", "%s", end.problem)
	case end.service == nil || end.elsewhere != "":
		up.Verdict = Undecided
	}
	if one := cluster.OneAddress(); one != "" {
		wrong(Pinned, "envoy-discovery", "%s", one)
	}
	if !cluster.SpeaksHTTP2() {
		wrong(Unreachable, "envoy-protocol", "Envoy calls the servers by HTTP/1.1, which gRPC does not use; expected typed_extension_protocol_options with http2_protocol_options")
	}
}
