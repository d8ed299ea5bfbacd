package k8sresolver

import (
	"cmp"
	"net/netip"
	"slices"

	"google.golang.org/grpc/resolver"
)

// endpoint is one server: one address, or those of a dual-stack pod.
type endpoint struct {
	addrs []netip.AddrPort
	info  Info
}

func (e endpoint) equal(o endpoint) bool {
	return e.info == o.info && slices.Equal(e.addrs, o.addrs)
}

// tally counts what a join saw; the text of an empty set is made of it.
type tally struct {
	slices    int
	endpoints int // distinct, with a usable port
	ready     int
	draining  int // serving && terminating
	fqdn      int
	portless  int         // endpoints in slices that do not have the port
	ports     []slicePort // the TCP ports of the first such slice
}

// join makes one sorted list of endpoints out of the slices of a Service. Slices
// overlap while the controller moves endpoints between them: the copy received
// last wins. The arguments are not changed.
func join(all []*slice, port portRef) ([]endpoint, tally) {
	pods, t := distinct(all, port)
	for _, p := range pods {
		switch {
		case p.ready:
			t.ready++
		case p.serving && p.terminating:
			t.draining++
		}
	}
	// A pod that is neither ready nor terminating is never used: Services that
	// want it (publishNotReadyAddresses) have it marked ready.
	usable := func(p slicePod) bool { return p.ready }
	if t.ready == 0 {
		usable = func(p slicePod) bool { return p.serving && p.terminating }
	}
	var addrs []netip.AddrPort
	for at, p := range pods {
		if usable(p) {
			addrs = append(addrs, at)
		}
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return group(addrs, pods), t
}

// group makes one endpoint of all addresses of a pod: a dual-stack pod would get
// twice its share of calls otherwise. In the sorted list IPv4 comes first.
func group(addrs []netip.AddrPort, pods map[netip.AddrPort]slicePod) []endpoint {
	byUID := make(map[string]int, len(addrs))
	list := make([]endpoint, 0, len(addrs))
	for _, at := range addrs {
		info := pods[at].info
		if i, ok := byUID[info.UID]; ok && info.UID != "" {
			list[i].addrs = append(list[i].addrs, at)
			continue
		}
		byUID[info.UID] = len(list)
		list = append(list, endpoint{addrs: []netip.AddrPort{at}, info: info})
	}
	return list
}

// distinct returns the pods of all slices by address and port.
func distinct(all []*slice, port portRef) (map[netip.AddrPort]slicePod, tally) {
	all = slices.SortedFunc(slices.Values(all), func(a, b *slice) int { return cmp.Compare(a.received, b.received) })
	t := tally{slices: len(all)}
	pods := make(map[netip.AddrPort]slicePod)
	for _, s := range all {
		t.fqdn += s.fqdn
		number, ok := s.resolve(port)
		if !ok {
			// A Service without pods has one slice without ports, which is no
			// fault of the port.
			if t.portless == 0 && len(s.pods) > 0 {
				t.ports = s.ports
			}
			t.portless += len(s.pods)
			continue
		}
		for _, p := range s.pods {
			pods[netip.AddrPortFrom(p.addr, number)] = p
		}
	}
	t.endpoints = len(pods)
	return pods, t
}

// state converts the list for gRPC. What can change while the pod lives is in
// Endpoint.Attributes: in Address.Attributes it would re-dial.
func state(list []endpoint) resolver.State {
	s := resolver.State{
		Endpoints: make([]resolver.Endpoint, 0, len(list)),
		// Balancers made with balancer/base read nothing else.
		Addresses: make([]resolver.Address, 0, len(list)),
	}
	for _, e := range list {
		addresses := make([]resolver.Address, 0, len(e.addrs))
		for _, at := range e.addrs {
			addresses = append(addresses, resolver.Address{Addr: at.String()})
		}
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: addresses, Attributes: e.info.attributes()})
		s.Addresses = append(s.Addresses, addresses...)
	}
	return s
}
