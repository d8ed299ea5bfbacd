package conformance_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

// inert builds resolvers that publish one address and nothing else, whatever happens.
type inert struct{}

func (inert) Scheme() string { return "inert" }

func (inert) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return inert{}, cc.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: "10.255.255.255:1"}}})
}

func (inert) ResolveNow(resolver.ResolveNowOptions) {}

func (inert) Close() {}

// Tests that a resolver which does nothing fails every case but those about doing too
// much.
func TestCases_RejectInert(t *testing.T) {
	harmless := []string{"build-blocks", "called-back-after-close", "close-waits-for-a-dead-api"}
	subject := conformance.Subject{Name: "inert", Open: func(conformance.API) (*conformance.Program, error) {
		return &conformance.Program{
			Builder: inert{},
			Target:  func(service, _, _ string) string { return "inert:///" + service },
		}, nil
	}}
	var passed []string
	var mu sync.Mutex
	var running sync.WaitGroup
	places := make(chan struct{}, 64) // cases wait more than they compute
	for _, c := range conformance.Cases() {
		if c.Real {
			continue
		}
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			failures, clean := c.Check(t.Context(), subject, nil)
			clean()
			if len(failures) == 0 {
				mu.Lock()
				defer mu.Unlock()
				passed = append(passed, c.Name)
			}
		})
	}
	running.Wait()
	slices.Sort(passed)
	if diff := cmp.Diff(harmless, passed); diff != "" {
		t.Errorf("cases that a resolver passes which does nothing (-want +got):\n%s", diff)
	}
}
