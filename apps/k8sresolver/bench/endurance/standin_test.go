package endurance_test

import (
	"fmt"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

// standIn is the role of the scripted API server.
type standIn struct{ server *apiserver.Server }

func newStandIn() *standIn { return &standIn{server: apiserver.Start()} }

func (s *standIn) close() { s.server.Close() }

// Place is how to reach an API server.
type Place struct {
	URL   string
	CA    []byte
	Token string
}

func (p Place) config() *rest.Config {
	return &rest.Config{Host: p.URL, BearerToken: p.Token, TLSClientConfig: rest.TLSClientConfig{CAData: p.CA}}
}

// Where returns how to reach the server.
func (s *standIn) Where(_ None, to *Place) error {
	*to = Place{URL: s.server.URL(), CA: s.server.CA()}
	return nil
}

// Set creates or updates slices.
func (s *standIn) Set(slices []*discoveryv1.EndpointSlice, _ *None) error {
	s.server.Set(slices...)
	return nil
}

// losses are the ways in which a watch ends.
var losses = []string{"end", "reset", "expire", "compact"}

// Lose ends all watches.
func (s *standIn) Lose(how string, _ *None) error {
	switch how {
	case "end":
		s.server.End()
	case "reset":
		s.server.Reset()
	case "expire":
		s.server.Expire()
	case "compact":
		s.server.Forget()
		s.server.End()
	default:
		return fmt.Errorf("unknown loss %q", how)
	}
	return nil
}

// Watches returns how many watches are open.
func (s *standIn) Watches(_ None, n *int) error {
	*n = s.server.Watches()
	return nil
}

func (c *child) place() Place {
	c.t.Helper()
	var p Place
	c.do("Where", None{}, &p)
	return p
}

func (c *child) set(slices ...*discoveryv1.EndpointSlice) {
	c.t.Helper()
	c.do("Set", slices, &None{})
}

// startScripted starts the scripted API server within the test's process.
func startScripted(t *testing.T) *apiserver.Server {
	t.Helper()
	s := apiserver.Start()
	t.Cleanup(s.Close)
	return s
}

func placeOf(s *apiserver.Server) Place { return Place{URL: s.URL(), CA: s.CA()} }
