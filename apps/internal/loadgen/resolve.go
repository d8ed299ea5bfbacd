package loadgen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// Resolve returns what gRPC's own resolver for the target's scheme finds: the
// first list of addresses it delivers, in its order. An empty list is an error.
func Resolve(ctx context.Context, target string, own []resolver.Builder) (*calllog.Resolved, error) {
	r, err := resolverFor(target, own)
	if err != nil {
		return nil, err
	}
	sink := &addressSink{states: make(chan resolver.State, 1), errs: make(chan error, 1)}
	res, err := r.builder.Build(r.target, sink, resolver.BuildOptions{
		DisableServiceConfig: true,
		DialCreds:            insecure.NewCredentials(),
		Authority:            r.target.Endpoint(),
	})
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", target, err)
	}
	defer res.Close()
	select {
	case state := <-sink.states:
		addresses := addressesOf(state)
		if len(addresses) == 0 {
			return nil, fmt.Errorf("resolving %q: there is no such name, or it has no addresses", target)
		}
		return &calllog.Resolved{Header: calllog.Header{Time: time.Now()}, Target: target, Addresses: addresses}, nil
	case err := <-sink.errs:
		return nil, fmt.Errorf("resolving %q: %w", target, err)
	case <-ctx.Done():
		return nil, fmt.Errorf("resolving %q: no answer in time: %w", target, context.Cause(ctx))
	}
}

func addressesOf(state resolver.State) []string {
	var addresses []string
	for _, endpoint := range state.Endpoints {
		for _, address := range endpoint.Addresses {
			addresses = append(addresses, address.Addr)
		}
	}
	if state.Endpoints == nil {
		for _, address := range state.Addresses {
			addresses = append(addresses, address.Addr)
		}
	}
	return addresses
}

// addressSink stands in for the channel that a resolver reports to. It keeps the
// first report of each kind.
type addressSink struct {
	states chan resolver.State
	errs   chan error
}

func (s *addressSink) UpdateState(state resolver.State) error {
	select {
	case s.states <- state:
	default:
	}
	return nil
}

func (s *addressSink) ReportError(err error) {
	select {
	case s.errs <- err:
	default:
	}
}

func (s *addressSink) NewAddress(addresses []resolver.Address) {
	_ = s.UpdateState(resolver.State{Addresses: addresses}) // never fails
}

func (s *addressSink) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{Err: errors.New("service configs are not looked up")}
}
