package k8sresolver

import (
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Done returns what is closed when a resolver's goroutine has ended.
func Done(r resolver.Resolver) <-chan struct{} { return r.(*k8sResolver).done }

// Join exposes the join of slices that were received in the order given, and the
// error of an empty result.
func Join(received []*discoveryv1.EndpointSlice, portName string, portNumber uint16) (resolver.State, error) {
	return JoinHere(received, portName, portNumber, "", "")
}

// JoinHere is Join in a node and a zone.
func JoinHere(received []*discoveryv1.EndpointSlice, portName string, portNumber uint16, node, zone string) (resolver.State, error) {
	all := make([]*endpointSlice, 0, len(received))
	for i, es := range received {
		s := trim(es)
		s.received = uint64(i)
		all = append(all, s)
	}
	port := portRef{name: portName, number: portNumber}
	list, t := join(all, port, topology{node: node, zone: zone})
	if len(list) > 0 {
		return state(list), nil
	}
	return state(list), emptyError(service{name: "echo-server", namespace: "shop"}, port, t)
}

// DiscoverNamespace exposes the namespace of targets that name none.
var DiscoverNamespace = discoverNamespace

// Subject exposes whom a token belongs to.
var Subject = subject

// PackUID and UnpackUID expose how uids are kept.
var (
	PackUID   = packUID
	UnpackUID = unpackUID
)

// DeleteFromStore returns how many slices a store that holds one has after Delete.
func DeleteFromStore(held *discoveryv1.EndpointSlice, deleted any) (int, error) {
	s := newStore(func() {})
	if err := s.Replace([]any{held}, "1"); err != nil {
		return 0, err
	}
	err := s.Delete(deleted)
	return len(s.snapshot().slices), err
}
