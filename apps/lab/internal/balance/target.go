package balance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// Target is a client's target, parsed as gRPC parses it.
type Target struct {
	// Text is the target as the program gets it.
	Text string
	// Scheme is that of the resolver, such as dns, k8s, passthrough, xds or unix.
	Scheme string
	// Host is a name or an IP address.
	Host string
	// Port is a number; with the scheme k8s, a name or nothing too.
	Port string
	// Namespace is that of the scheme k8s, which has a syntax of its own.
	Namespace string
}

// resolvers make gRPC know the schemes that a program can add to those of gRPC.
var resolvers = grpc.WithResolvers(manual.NewBuilderWithScheme(k8sresolver.Scheme), manual.NewBuilderWithScheme("xds"))

// ParseTarget parses a target with gRPC's own code: a target without a known scheme
// is resolved by dns. The error says why gRPC cannot use it.
// Source: gRPC's doc/naming.md.
func ParseTarget(text string) (Target, error) {
	t := Target{Text: text}
	conn, err := grpc.NewClient(text, resolvers, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return t, err
	}
	defer conn.Close()
	parsed, err := url.Parse(conn.CanonicalTarget())
	if err != nil {
		return t, err
	}
	t.Scheme = parsed.Scheme
	endpoint := resolver.Target{URL: *parsed}.Endpoint()
	switch t.Scheme {
	case k8sresolver.Scheme:
		k8s, err := k8sresolver.ParseTarget(resolver.Target{URL: *parsed})
		t.Host, t.Namespace, t.Port = k8s.Service, k8s.Namespace, k8s.Port
		return t, err
	case "unix", "unix-abstract":
		t.Host = endpoint
		return t, nil
	case "dns":
		// The part before the third slash names a DNS server.
		return t, t.split(endpoint, "443")
	default:
		return t, t.split(endpoint, "")
	}
}

// split reads host and port as gRPC's resolver dns and Go's dialer do.
func (t *Target) split(endpoint, defaultPort string) error {
	if endpoint == "" {
		return errors.New("it names no host")
	}
	if ip, err := netip.ParseAddr(strings.Trim(endpoint, "[]")); err == nil && defaultPort != "" {
		t.Host, t.Port = ip.String(), defaultPort
		return nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		if defaultPort == "" {
			return fmt.Errorf("it has no port, expected %s:PORT", endpoint)
		}
		if host, port, err = net.SplitHostPort(endpoint + ":" + defaultPort); err != nil {
			return err
		}
	}
	t.Host, t.Port = host, port
	if port == "" {
		return errors.New("the port after the colon is empty")
	}
	if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
		return fmt.Errorf("port %q, expected a number from 1 to 65535: only the scheme %s knows ports by name", port, k8sresolver.Scheme)
	}
	return nil
}

// literal says whether the host is an address.
func (t Target) literal() bool {
	_, err := netip.ParseAddr(t.Host)
	return err == nil
}

// serviceName is a name in the cluster's DNS.
type serviceName struct{ service, namespace string }

// serviceName returns the Service that the host can be in the DNS of a pod of the
// namespace. The cluster's domain can be any. The problem says why the host is no
// such name.
// Source: the DNS specification of Kubernetes (github.com/kubernetes/dns).
func (t Target) serviceName(namespace string) (n serviceName, problem string) {
	if t.Scheme == k8sresolver.Scheme {
		if t.Namespace != "" {
			namespace = t.Namespace
		}
		return serviceName{t.Host, namespace}, ""
	}
	host, absolute := strings.CutSuffix(t.Host, ".")
	if absolute && t.Scheme == "xds" {
		return n, "istiod knows no name with a dot at the end"
	}
	labels := strings.Split(strings.ToLower(host), ".")
	if slices.Contains(labels, "") {
		return n, fmt.Sprintf("%q is not a DNS name", t.Host)
	}
	whole := len(labels) > 3 && labels[2] == "svc"
	if absolute && !whole {
		return n, fmt.Sprintf("%q ends with a dot, so DNS does not complete it to a name of the cluster: write SERVICE.NAMESPACE.svc.DOMAIN. or remove the dot", t.Host)
	}
	switch {
	case len(labels) == 1:
		return serviceName{labels[0], namespace}, ""
	case len(labels) == 2, len(labels) == 3 && labels[2] == "svc", whole:
		return serviceName{labels[0], labels[1]}, ""
	}
	return n, fmt.Sprintf("%q is no name of a Service in this cluster", t.Host)
}
