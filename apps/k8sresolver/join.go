package k8sresolver

import (
	"cmp"
	"net/netip"
	"slices"
)

// entry is one address in use. An entry points into its slice, which is what makes
// a list of many thousands small.
type entry struct {
	slice *slice
	pod   int32  // index in the slice
	port  uint16 // number
	// same is set when the entry is one more address of the endpoint before it: a
	// dual-stack pod would get twice its share of calls otherwise.
	same bool
}

func (e entry) get() *slicePod { return &e.slice.pods[e.pod] }

func (e entry) addrPort() netip.AddrPort { return netip.AddrPortFrom(e.get().addr, e.port) }

// tally counts what a join saw; the text of an empty set and the metrics are made
// of it.
type tally struct {
	slices    int
	endpoints int // distinct, with a usable port
	ready     int
	draining  int // serving && terminating, not ready
	fqdn      int
	portless  int         // endpoints in slices that do not have the port
	ports     []slicePort // the TCP ports of the first such slice
}

// join makes one sorted list of endpoints out of the slices of a Service. Slices
// overlap while the controller moves endpoints between them: the copy received
// last wins. The arguments are not changed.
func join(all []*slice, port portRef, here locality) ([]entry, tally) {
	list, t := distinct(all, port)
	for _, e := range list {
		switch p := e.get(); {
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
	list = slices.DeleteFunc(list, func(e entry) bool { return !e.get().is(wanted) })
	if t.ready > 0 {
		list = here.local(list)
	}
	return pair(list), t
}

// distinct returns the pods of all slices by address and port, sorted by them.
func distinct(all []*slice, port portRef) ([]entry, tally) {
	t := tally{slices: len(all)}
	room := 0
	for _, s := range all {
		room += len(s.pods)
	}
	list := make([]entry, 0, room)
	var example *slice
	for _, s := range all {
		t.fqdn += s.fqdn
		number, ok := s.resolve(port)
		if !ok {
			// A Service without pods has one slice without ports, which is no
			// fault of the port.
			if len(s.pods) > 0 && (t.portless == 0 || s.received < example.received) {
				example = s
				t.ports = s.ports
			}
			t.portless += len(s.pods)
			continue
		}
		for i := range s.pods {
			list = append(list, entry{slice: s, pod: int32(i), port: number})
		}
	}
	// Among equals the one received last comes first, and is kept.
	slices.SortFunc(list, func(a, b entry) int {
		if by := a.addrPort().Compare(b.addrPort()); by != 0 {
			return by
		}
		return cmp.Or(cmp.Compare(b.slice.received, a.slice.received), cmp.Compare(b.pod, a.pod))
	})
	list = slices.CompactFunc(list, func(a, b entry) bool { return a.addrPort() == b.addrPort() })
	t.endpoints = len(list)
	return list, t
}

// pair puts all addresses of a pod next to each other. In the sorted list IPv4
// comes first, and so it does within an endpoint.
func pair(list []entry) []entry {
	seen := make(map[string]bool, len(list))
	further := make(map[string][]entry)
	first := list[:0]
	for _, e := range list {
		uid := e.slice.rawUID(e.get())
		if uid != "" && seen[uid] {
			e.same = true
			further[uid] = append(further[uid], e)
			continue
		}
		seen[uid] = true
		first = append(first, e)
	}
	if len(further) == 0 {
		return first
	}
	paired := make([]entry, 0, len(list))
	for _, e := range first {
		paired = append(paired, e)
		paired = append(paired, further[e.slice.rawUID(e.get())]...)
	}
	return paired
}
