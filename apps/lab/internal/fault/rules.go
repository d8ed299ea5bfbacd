package fault

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// Network is what rules need to know of a cluster's network.
type Network struct {
	// Pods are the addresses of all pods.
	Pods []netip.Prefix
	// API are the addresses at which the API server listens, behind its Service.
	API []netip.AddrPort
	// Uplink is the name of each node's link to the others.
	Uplink string
}

// Priorities of the chains, in numbers, since nft has no name for them in every hook.
// Between asServed ones packets carry the addresses of the pod that serves, outside of
// them those that the client sees: kube-proxy translates at -100 (dstnat) and 100 (srcnat).
const (
	asSentIn, asServedIn   = -300, -99
	asServedOut, asSentOut = 99, 300
)

// rules returns the commands for nft that bring a fault about in a node: a table
// whose owner is the nft process, so that the kernel removes it with that process.
// Both directions are dropped: else what the other side sends would still arrive.
func rules(kind cluster.FaultKind, n Network, table string) (string, error) {
	var in, out []string
	from, to := asSentIn, asSentOut
	switch kind {
	case cluster.APIAway:
		from, to = asServedIn, asServedOut
		for _, pods := range n.Pods {
			for _, api := range n.API {
				if f := family(pods.Addr()); f == family(api.Addr()) {
					in = append(in, fmt.Sprintf("%s saddr %s %s daddr %s tcp dport %d drop", f, pods, f, api.Addr(), api.Port()))
					out = append(out, fmt.Sprintf("%s daddr %s %s saddr %s tcp sport %d drop", f, pods, f, api.Addr(), api.Port()))
				}
			}
		}
	case cluster.DNSAway:
		for _, pods := range n.Pods {
			in = append(in, fmt.Sprintf("%s saddr %s meta l4proto { tcp, udp } th dport 53 drop", family(pods.Addr()), pods))
			out = append(out, fmt.Sprintf("%s daddr %s meta l4proto { tcp, udp } th sport 53 drop", family(pods.Addr()), pods))
		}
	case cluster.LinkDown:
		in, out = []string{fmt.Sprintf("iifname %q drop", n.Uplink)}, []string{fmt.Sprintf("oifname %q drop", n.Uplink)}
	}
	if len(in) == 0 {
		return "", fmt.Errorf("fault: no rule for %q with pods at %v and the API server at %v", kind, n.Pods, n.API)
	}
	return fmt.Sprintf("table inet %s { flags owner; "+
		"chain in { type filter hook prerouting priority %d; %s; }; "+
		"chain out { type filter hook postrouting priority %d; %s; }; }\n",
		table, from, strings.Join(in, "; "), to, strings.Join(out, "; ")), nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}
