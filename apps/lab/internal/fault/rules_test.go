package fault_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/fault"
)

// Rules drop both directions, in the addresses' own families: the API server's behind
// its Service, and DNS as pods ask for it.
func TestRules(t *testing.T) {
	n := fault.Network{
		Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:1::/64")},
		API:  []netip.AddrPort{netip.MustParseAddrPort("172.30.0.1:6443")}, Uplink: "eth0",
	}
	for kind, want := range map[cluster.FaultKind][]string{
		cluster.APIAway: {
			"prerouting priority -99; ip saddr 10.244.0.0/24 ip daddr 172.30.0.1 tcp dport 6443 drop;",
			"postrouting priority 99; ip daddr 10.244.0.0/24 ip saddr 172.30.0.1 tcp sport 6443 drop;",
		},
		cluster.DNSAway: {
			"prerouting priority -300; ip saddr 10.244.0.0/24 meta l4proto { tcp, udp } th dport 53 drop; ip6 saddr fd00:1::/64 meta",
			"postrouting priority 300; ip daddr 10.244.0.0/24 meta l4proto { tcp, udp } th sport 53 drop; ip6 daddr",
		},
		cluster.LinkDown: {`prerouting priority -300; iifname "eth0" drop;`, `postrouting priority 300; oifname "eth0" drop;`},
	} {
		got, err := fault.Rules(kind, n, "x")
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, w := range append(want, "table inet x { flags owner;") {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", kind, w, got)
			}
		}
	}
	for _, kind := range []cluster.FaultKind{cluster.APIAway, cluster.DNSAway, "rain"} {
		if got, err := fault.Rules(kind, fault.Network{Uplink: "eth0"}, "x"); err == nil {
			t.Errorf("%s without addresses gives %q, want an error", kind, got)
		}
	}
}

// Only a worker can be cut off, and only where there is one.
func TestWorkers(t *testing.T) {
	s := cluster.Status{Nodes: []cluster.NodeStatus{{Name: "one", ControlPlane: true}}}
	if err := fault.Possible(cluster.LinkDown, s); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a worker: %v, want ErrUnsupported", err)
	}
	s.Nodes = append(s.Nodes, cluster.NodeStatus{Name: "two"})
	for _, kind := range []cluster.FaultKind{cluster.APIAway, cluster.DNSAway, cluster.LinkDown} {
		if err := fault.Possible(kind, s); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if diff := cmp.Diff([]string{"two"}, s.Workers()); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	var nodes []fault.Node
	for _, n := range s.Nodes {
		nodes = append(nodes, fault.Node{NodeStatus: n})
	}
	for _, name := range []string{"one", "", "three"} {
		_, err := fault.Break(t.Context(), cluster.Fault{Kind: cluster.LinkDown, Node: name}, fault.Network{Uplink: "eth0"}, nodes)
		if err == nil || !strings.Contains(err.Error(), `expected one of ["two"]`) {
			t.Errorf("cutting off %q: %v, want an error that names the worker", name, err)
		}
	}
}
