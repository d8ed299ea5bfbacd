package k8sresolver

import (
	"cmp"
	"net/netip"
	"slices"
)

// address is one address in use. It points into its slice, which is what makes
// a list of many thousands small.
type address struct {
	slice *endpointSlice
	index int32  // in the slice
	port  uint16 // number
	// same is set when the entry is one more address of the endpoint before it: a
	// dual-stack pod would get twice its share of calls otherwise.
	same bool
}

func (a address) endpoint() *endpoint { return &a.slice.endpoints[a.index] }

func (a address) addrPort() netip.AddrPort { return netip.AddrPortFrom(a.endpoint().addr, a.port) }

// tally counts what a join saw. The error of an empty set and the metrics use it.
type tally struct {
	slices    int
	endpoints int // distinct, with a usable port
	ready     int
	draining  int // serving && terminating, not ready
	fqdn      int
	portless  int            // endpoints in slices that do not have the port
	ports     []endpointPort // the TCP ports of the first such slice
}

// join makes one sorted list of endpoints out of the slices of a Service. Slices
// overlap while the controller moves endpoints between them: the copy received
// last wins. The arguments are not changed.
func join(all []*endpointSlice, port portRef, from topology) ([]address, tally) {
	list, t := distinct(all, port)
	for _, a := range list {
		switch p := a.endpoint(); {
		case p.is(ready):
			t.ready++
		case p.is(serving | terminating):
			t.draining++
		}
	}
	// A pod that is neither ready nor terminating is never used: Services that
	// want it (publishNotReadyAddresses) have it marked ready.
	wanted := ready
	if t.ready == 0 {
		wanted = serving | terminating
	}
	list = slices.DeleteFunc(list, func(a address) bool { return !a.endpoint().is(wanted) })
	if t.ready > 0 {
		list = from.nearest(list)
	}
	return pair(list), t
}

// distinct returns the pods of all slices by address and port, sorted by them.
func distinct(all []*endpointSlice, port portRef) ([]address, tally) {
	t := tally{slices: len(all)}
	room := 0
	for _, s := range all {
		room += len(s.endpoints)
	}
	list := make([]address, 0, room)
	var example *endpointSlice
	for _, s := range all {
		t.fqdn += s.fqdn
		number, ok := s.resolve(port)
		if !ok {
			// A Service without pods has one slice without ports, which is no
			// fault of the port.
			if len(s.endpoints) > 0 && (t.portless == 0 || s.received < example.received) {
				example = s
				t.ports = s.ports
			}
			t.portless += len(s.endpoints)
			continue
		}
		for i := range s.endpoints {
			list = append(list, address{slice: s, index: int32(i), port: number})
		}
	}
	// Among equals the one received last comes first, and is kept.
	slices.SortFunc(list, func(a, b address) int {
		if by := a.addrPort().Compare(b.addrPort()); by != 0 {
			return by
		}
		return cmp.Or(cmp.Compare(b.slice.received, a.slice.received), cmp.Compare(b.index, a.index))
	})
	list = slices.CompactFunc(list, func(a, b address) bool { return a.addrPort() == b.addrPort() })
	t.endpoints = len(list)
	return list, t
}

// pair puts all addresses of a pod next to each other. In the sorted list IPv4
// comes first, and so it does within an endpoint.
func pair(list []address) []address {
	seen := make(map[string]bool, len(list))
	further := make(map[string][]address)
	first := list[:0]
	for _, a := range list {
		uid := a.slice.rawUID(a.endpoint())
		if uid != "" && seen[uid] {
			a.same = true
			further[uid] = append(further[uid], a)
			continue
		}
		seen[uid] = true
		first = append(first, a)
	}
	if len(further) == 0 {
		return first
	}
	paired := make([]address, 0, len(list))
	for _, a := range first {
		paired = append(paired, a)
		paired = append(paired, further[a.slice.rawUID(a.endpoint())]...)
	}
	return paired
}
