package balance

import (
	"fmt"
	"net/netip"
	"slices"
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
		for _, f := range c.filesOf(w, volume, "") {
			if strings.Contains(f.content, text) {
				return f.configMap, f.content
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
		p.Verdict, p.Because, p.Findings = up.Verdict, up.Because, up.Findings
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
	Because  string // of Undecided
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
		return Upstream{Verdict: Undecided, Because: "Envoy's configuration is not all in the objects"}, true
	}
	up.Verdict, up.Admin = Balanced, int(envoy.Admin.Address.SocketAddress.PortValue)
	local := false
	for _, cluster := range c.carriers(envoy, proxy) {
		if len(cluster.Addresses()) == 0 {
			if len(up.Findings) == 0 {
				up.Verdict, up.Because = Undecided, "Envoy's cluster "+cluster.Name+" gets its servers from elsewhere"
			}
		}
		for _, to := range cluster.Addresses() {
			switch {
			case to == envoy.Admin.Address:
			case besides(proxy, to):
				local = true
			default:
				c.judgeUpstream(&up, proxy, configMap, cluster, to)
			}
		}
	}
	return up, !local || up.Service != nil
}

// carriers returns the clusters that can carry calls: those to which routes lead. If no
// route is known, they are those that lead to gRPC Services, or else all.
func (c *Cluster) carriers(envoy Envoy, proxy manifest.Workload) []EnvoyCluster {
	routed := envoy.Routed()
	var byRoute, byService []EnvoyCluster
	for _, cluster := range envoy.StaticResources.Clusters {
		if routed[cluster.Name] {
			byRoute = append(byRoute, cluster)
		}
		if slices.ContainsFunc(cluster.Addresses(), func(to EnvoyAddress) bool {
			e := c.lead(to.target(), proxy)
			return e.service != nil && e.problem == "" && c.IsGRPC(e.service, e.port)
		}) {
			byService = append(byService, cluster)
		}
	}
	switch {
	case len(byRoute) > 0:
		return byRoute
	case len(byService) > 0:
		return byService
	}
	return envoy.StaticResources.Clusters
}

// besides says whether an address is that of another container of the proxy's pod, so that
// the proxy is one of the server.
func besides(proxy manifest.Workload, to EnvoyAddress) bool {
	ip, err := netip.ParseAddr(to.SocketAddress.Address)
	own := slices.DeleteFunc(slices.Clone(proxy.Template.Spec.Containers), func(c corev1.Container) bool { return IsMeshProxy(c.Name) })
	return err == nil && ip.IsLoopback() && len(own) > 1
}

// judgeUpstream judges one address that Envoy calls.
func (c *Cluster) judgeUpstream(up *Upstream, proxy manifest.Workload, configMap *corev1.ConfigMap, cluster EnvoyCluster, to EnvoyAddress) {
	wrong := func(verdict Verdict, rule, format string, args ...any) {
		up.Verdict, up.Because = verdict, ""
		seen := fmt.Sprintf("envoy.yaml: cluster %s at %v: %s", cluster.Name, to, fmt.Sprintf(format, args...))
		up.Findings = append(up.Findings, newFinding(rule, configMap, "", "%s", seen))
	}
	if ip, err := netip.ParseAddr(to.SocketAddress.Address); err == nil && ip.IsLoopback() {
		wrong(Unreachable, "envoy-upstream", "no Service has a loopback address, and the admin port is elsewhere")
		return
	}
	end := c.lead(to.target(), proxy)
	if end.service != nil {
		up.Service, up.port = end.service, end.port
	}
	switch {
	case end.service != nil && end.elsewhere == "" && !Headless(end.service):
		wrong(Pinned, "envoy-upstream", "the Service is not headless: Envoy would see one address")
	case end.problem != "":
		wrong(Unreachable, "envoy-upstream", "%s", end.problem)
	case end.service == nil || end.elsewhere != "":
		if len(up.Findings) == 0 {
			up.Verdict, up.Because = Undecided, fmt.Sprintf("Envoy's cluster %s leads to %v, of which the objects show nothing", cluster.Name, to)
		}
		return
	}
	if one := cluster.OneAddress(); one != "" {
		wrong(Pinned, "envoy-discovery", "%s", one)
	}
	if !cluster.SpeaksHTTP2() {
		wrong(Unreachable, "envoy-protocol", "Envoy calls the servers by HTTP/1.1, which gRPC does not use; expected typed_extension_protocol_options with http2_protocol_options")
	}
}
