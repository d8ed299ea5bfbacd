package balance

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Names of settings, which programs choose.
var (
	// authorities make a client verify servers.
	authorities = regexp.MustCompile(`^(.*-)?(ca|cacert|root-?certs?)(-(cert|certs|file|path|bundle))*$`)
	// serverNames are what a client verifies instead of the target's host.
	serverNames = regexp.MustCompile(`^(.*-)?(server-?name|authority|target-name)(-override)?$`)
)

// certificateNames finds a Certificate of cert-manager that the server shows, and that lacks
// the name which the client verifies. A client without authorities may not use TLS.
// Sources: cert-manager's API reference of Certificate; RFC 6125 for wildcards.
func (c *Cluster) certificateNames(p *Path) {
	if p.Client.Target.Scheme == "xds" || p.Client.Target.literal() || p.Client.setting(authorities) == "" {
		return
	}
	certificates := c.shown(p)
	names := dnsNames(certificates)
	name := p.Client.verifies(p)
	if len(certificates) == 0 || name == "" || slices.ContainsFunc(names, func(n string) bool { return isFor(n, name) }) {
		return
	}
	p.find("certificate-name", certificates[0], "dnsNames", "it has %s, and %s verifies %s", namesText(names), manifest.Describe(p.Client.Pods.Object), name)
}

// hostnames finds Certificates of a listener that lack a hostname which it serves: its
// clients verify that name. It does not judge where one of the Certificates is not among the
// objects.
func (c *Cluster) hostnames(g *gatewayv1.Gateway, l gatewayv1.Listener, find findFunc) {
	secrets := secretsOf(g, l)
	certificates := c.certificatesIn(g, secrets)
	if len(certificates) == 0 || len(certificates) < len(l.TLS.CertificateRefs) {
		return
	}
	names := dnsNames(certificates)
	var hosts []gatewayv1.Hostname
	for _, r := range c.routes {
		if c.takes(l, g, routeOf(r)) {
			hosts = append(hosts, common(r.Spec.Hostnames, l.Hostname)...)
		}
	}
	if len(hosts) == 0 && valueOf(l.Hostname) != "" {
		hosts = append(hosts, *l.Hostname)
	}
	for _, host := range hosts {
		if !slices.ContainsFunc(names, func(n string) bool { return isFor(n, string(host)) }) {
			find(nil, "certificate-name", certificates[0], "dnsNames", "it has %s, and listener %s of Gateway/%s serves %s", namesText(names), l.Name, g.Name, host)
		}
	}
}

func dnsNames(certificates []*unstructured.Unstructured) []string {
	var names []string
	for _, o := range certificates {
		list, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "dnsNames")
		names = append(names, list...)
	}
	return names
}

func namesText(names []string) string {
	if len(names) == 0 {
		return "no DNS name"
	}
	return "the DNS names " + strings.Join(names, ", ")
}

// secretsOf returns the Secrets of the Gateway's namespace that a listener shows.
func secretsOf(g *gatewayv1.Gateway, l gatewayv1.Listener) []string {
	var secrets []string
	if l.TLS == nil {
		return nil
	}
	for _, ref := range l.TLS.CertificateRefs {
		if sameNamespace(within(ref.Namespace, g), g.Namespace) {
			secrets = append(secrets, string(ref.Name))
		}
	}
	return secrets
}

// verifies returns the name that a client verifies, or "" if that is not known.
func (c Client) verifies(p *Path) string {
	if name := c.setting(serverNames); name != "" {
		host, _, _ := strings.Cut(name, ":")
		return host
	}
	if c.Target.Scheme != k8sresolver.Scheme {
		return strings.TrimSuffix(c.Target.Host, ".")
	}
	if p.Service == nil || p.Service.Namespace == "" {
		return ""
	}
	return p.Service.Name + "." + p.Service.Namespace + ".svc"
}

// setting returns the value of a setting whose name matches, or "".
func (c Client) setting(name *regexp.Regexp) string {
	for _, n := range sortedNames(c.Settings) {
		if name.MatchString(n) && c.Settings[n] != "" {
			return c.Settings[n]
		}
	}
	return ""
}

// shown returns the Certificates whose Secrets the client's peer has: the proxy on the way,
// or the servers. One for authorities is none that a server shows.
func (c *Cluster) shown(p *Path) []*unstructured.Unstructured {
	if p.gateway != nil {
		var secrets []string
		for _, l := range p.gateway.Spec.Listeners {
			secrets = append(secrets, secretsOf(p.gateway, l)...)
		}
		return c.certificatesIn(p.gateway, secrets)
	}
	peers := p.Servers
	if p.Through != nil {
		peers = []manifest.Workload{p.Proxy}
	}
	var all []*unstructured.Unstructured
	for _, w := range peers {
		var secrets []string
		for _, v := range w.Template.Spec.Volumes {
			if v.Secret != nil {
				secrets = append(secrets, v.Secret.SecretName)
			}
			if v.Projected != nil {
				for _, source := range v.Projected.Sources {
					if source.Secret != nil {
						secrets = append(secrets, source.Secret.Name)
					}
				}
			}
		}
		all = append(all, c.certificatesIn(w.Object, secrets)...)
	}
	return all
}

// certificatesIn returns the Certificates of the object's namespace that make the Secrets.
func (c *Cluster) certificatesIn(of manifest.Object, secrets []string) []*unstructured.Unstructured {
	return slices.DeleteFunc(manifest.All[*unstructured.Unstructured](c.objects), func(o *unstructured.Unstructured) bool {
		authority, _, _ := unstructured.NestedBool(o.Object, "spec", "isCA")
		return !isCertificate(o) || authority || !slices.Contains(secrets, manifest.SecretOf(o)) || !sameNamespace(o.GetNamespace(), of.GetNamespace())
	})
}

func isCertificate(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Certificate" && o.GroupVersionKind().Group == "cert-manager.io"
}

// isFor says whether a certificate's name, which can begin with * for one label, is that of a
// server.
func isFor(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	_, rest, _ := strings.Cut(name, ".")
	suffix, wildcard := strings.CutPrefix(pattern, "*.")
	return pattern == name || wildcard && rest == suffix
}
