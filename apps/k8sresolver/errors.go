package k8sresolver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

const resource = "endpointslices.discovery.k8s.io"

// requestError is a request that failed.
type requestError struct {
	verb  string
	svc   service
	as    string // who asked, empty when that is not known
	cause error
	proxy proxyFunc // may be nil
}

// proxyFunc returns the proxy that a request goes through, nil for none.
type proxyFunc func(*http.Request) (*url.URL, error)

// Error says which request failed, its user, the reason, and what to do if that is
// known.
func (e *requestError) Error() string {
	hint := ""
	switch {
	case apierrors.IsForbidden(e.cause):
		hint = "; a Role must grant list and watch on " + resource
	case apierrors.IsUnauthorized(e.cause):
		hint = "; the API server does not accept the client's token or certificate"
	case isUntrusted(e.cause):
		hint = "; the client's CA did not sign the API server's certificate"
	}
	cause := e.cause
	if call, ok := errors.AsType[*url.Error](cause); ok {
		// Its text begins with the whole URL, of which only the host is new information.
		host := call.URL
		if u, err := url.Parse(call.URL); err == nil {
			host = u.Host
			if e.proxy != nil {
				if proxy, err := e.proxy(&http.Request{URL: u}); err == nil && proxy != nil {
					hint += fmt.Sprintf("; the way there is the proxy %s, of HTTPS_PROXY or the kubeconfig's proxy-url", proxy.Host)
				}
			}
		}
		cause = fmt.Errorf("no connection to the API server %s: %w", host, call.Err)
	}
	return fmt.Sprintf("k8sresolver: %s: %v%s", doing(e.verb, e.svc, e.as), cause, hint)
}

func isUntrusted(err error) bool {
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	return untrusted
}

// doing names a request: its verb, its object, and its user.
func doing(verb string, svc service, as string) string {
	text := fmt.Sprintf("%s %s of service %q in namespace %q", verb, resource, svc.name, svc.namespace)
	if as != "" {
		text += fmt.Sprintf(" as %q", as)
	}
	return text
}

// Unwrap hides refused connections and status 429 from the Reflector: it would
// pause within, where neither Close nor ResolveNow reaches it. It must see an
// expired resource version.
func (e *requestError) Unwrap() error {
	if utilnet.IsConnectionRefused(e.cause) || apierrors.IsTooManyRequests(e.cause) {
		return nil
	}
	return e.cause
}

// silenceError says that the API server has neither answered nor refused.
func silenceError(svc service, as string, after time.Duration) error {
	return &requestError{verb: "watch", svc: svc, as: as, cause: noAnswer(after)}
}

// emptyError says why a Service has no usable endpoint.
func emptyError(svc service, port portRef, t tally) error {
	return fmt.Errorf("k8sresolver: service %q in namespace %q: %s", svc.name, svc.namespace, t.explain(port))
}

func (t tally) explain(port portRef) string {
	if t.slices == 0 {
		return "0 of 0 endpoints ready, there is no EndpointSlice: does the Service exist, with a selector?"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d endpoints ready in %d EndpointSlices", t.ready, t.endpoints+t.portless, t.slices)
	if t.portless > 0 {
		fmt.Fprintf(&b, ", %d without %s (TCP ports: %v)", t.portless, port.describe(), t.ports)
	}
	if t.fqdn > 0 {
		fmt.Fprintf(&b, ", %d skipped because they are not IP addresses", t.fqdn)
	}
	return b.String()
}

func (p portRef) describe() string {
	if p.name != "" {
		return fmt.Sprintf("a port named %q", p.name)
	}
	return "one port that is the only one, has appProtocol kubernetes.io/h2c or grpc, or is named grpc*: name it in the target"
}
