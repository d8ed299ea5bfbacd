package kubeconfig_test

import (
	"net/url"

	"google.golang.org/grpc/resolver"
)

func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// discard is a channel that does not listen.
type discard struct{ resolver.ClientConn }

func (discard) UpdateState(resolver.State) error { return nil }

func (discard) ReportError(error) {}
