package loadgen

import (
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/grpc/resolver"
	_ "google.golang.org/grpc/resolver/dns" // registered even where nothing else needs it
)

// XDS is the scheme of targets that gRPC asks an xDS server about.
const XDS = "xds"

// schemes is for the error that says what is known. Not every program has all.
const schemes = "dns, passthrough, unix, unix-abstract, k8s (echo-client alone) or xds (echo-client-xds alone)"

// route is a parsed target and the resolver that gRPC uses for it.
type route struct {
	target  resolver.Target
	builder resolver.Builder
}

// Scheme returns the target's scheme, "dns" when it has none, as gRPC does.
func Scheme(target string) string {
	if scheme, _, ok := strings.Cut(target, "://"); ok {
		return scheme
	}
	if scheme, _, ok := strings.Cut(target, ":"); ok && (scheme == "unix" || scheme == "unix-abstract") {
		return scheme
	}
	return "dns"
}

// CheckTarget reports whether the target can be handed to gRPC with these
// resolvers in addition to its own.
func CheckTarget(target string, own ...resolver.Builder) error {
	_, err := resolverFor(target, own)
	return err
}

// resolverFor parses the target as gRPC does, but for one thing: an unknown
// scheme is an error here, while gRPC looks the whole target up in DNS.
func resolverFor(target string, own []resolver.Builder) (route, error) {
	if target == "" {
		return route{}, fmt.Errorf("--target is missing, expected the like of dns:///echo-server:8080")
	}
	scheme := Scheme(target)
	if !strings.HasPrefix(target, scheme+":") {
		target = "dns:///" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return route{}, fmt.Errorf("--target %q: %w", target, err)
	}
	builder := resolver.Get(scheme)
	for _, b := range own {
		if b.Scheme() == scheme {
			builder = b
		}
	}
	if builder == nil {
		return route{}, fmt.Errorf("--target %q: scheme %q is unknown here, expected one of %s", target, scheme, schemes)
	}
	r := route{target: resolver.Target{URL: *u}, builder: builder}
	if r.target.Endpoint() == "" {
		return route{}, fmt.Errorf("--target %q names nobody to call, expected the like of %s:///echo-server:8080 (three slashes)", target, scheme)
	}
	if strings.HasSuffix(r.target.Endpoint(), ":") {
		return route{}, fmt.Errorf("--target %q: expected a port after the last colon", target)
	}
	return r, nil
}
