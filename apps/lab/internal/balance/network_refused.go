package balance

import (
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// refusedPolicies finds NetworkPolicies that the API server refuses.
// Source: Kubernetes' validation of NetworkPolicy, networking.k8s.io/v1.
func (c *Cluster) refusedPolicies(find findFunc) {
	for _, policy := range manifest.All[*networkingv1.NetworkPolicy](c.objects) {
		for _, problem := range problems(policy) {
			find(nil, "network-policy", policy, "", "the API server refuses it: %s", problem)
		}
	}
}

func problems(policy *networkingv1.NetworkPolicy) []string {
	var all []string
	for _, direction := range policy.Spec.PolicyTypes {
		if direction != networkingv1.PolicyTypeIngress && direction != networkingv1.PolicyTypeEgress {
			all = append(all, fmt.Sprintf("policyTypes has %q, expected Ingress or Egress", direction))
		}
	}
	all = append(all, ofSelector(&policy.Spec.PodSelector)...)
	for _, r := range slices.Concat(rules(policy, networkingv1.PolicyTypeIngress), rules(policy, networkingv1.PolicyTypeEgress)) {
		for _, p := range r.ports {
			all = append(all, ofPort(p)...)
		}
		for _, p := range r.peers {
			all = append(all, ofPeer(p)...)
		}
	}
	return all
}

func ofSelector(s *metav1.LabelSelector) []string {
	if s == nil {
		return nil
	}
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		return []string{manifest.OneLine(err)}
	}
	return nil
}

func ofPort(p networkingv1.NetworkPolicyPort) []string {
	switch {
	case p.Port == nil && p.EndPort != nil:
		return []string{fmt.Sprintf("endPort %d has no port, expected the first port of the range", *p.EndPort)}
	case p.Port == nil:
		return nil
	case p.Port.Type == intstr.String && p.EndPort != nil:
		return []string{fmt.Sprintf("endPort %d is with port %q, expected a number as port", *p.EndPort, p.Port.StrVal)}
	case p.Port.Type == intstr.String && len(validation.IsValidPortName(p.Port.StrVal)) > 0:
		return []string{fmt.Sprintf("port %q is a text, expected a number, or the name of a port", p.Port.StrVal)}
	case p.Port.Type == intstr.Int && len(validation.IsValidPortNum(int(p.Port.IntVal))) > 0:
		return []string{fmt.Sprintf("port %d, expected a number from 1 to 65535", p.Port.IntVal)}
	case p.EndPort != nil && *p.EndPort < p.Port.IntVal:
		return []string{fmt.Sprintf("endPort %d is below port %d", *p.EndPort, p.Port.IntVal)}
	}
	return nil
}

func ofPeer(p networkingv1.NetworkPolicyPeer) []string {
	switch selects := p.PodSelector != nil || p.NamespaceSelector != nil; {
	case p.IPBlock == nil && !selects:
		return []string{"a peer is empty, expected podSelector, namespaceSelector or ipBlock"}
	case p.IPBlock == nil:
		return append(ofSelector(p.PodSelector), ofSelector(p.NamespaceSelector)...)
	case selects:
		return []string{fmt.Sprintf("a peer has ipBlock %s and a selector, expected two peers", p.IPBlock.CIDR)}
	}
	network, err := netip.ParsePrefix(p.IPBlock.CIDR)
	if err != nil {
		return []string{fmt.Sprintf("cidr %q is no block of addresses, expected one such as 10.0.0.0/8", p.IPBlock.CIDR)}
	}
	var all []string
	for _, text := range p.IPBlock.Except {
		switch except, err := netip.ParsePrefix(text); {
		case err != nil:
			all = append(all, fmt.Sprintf("except %q is no block of addresses, expected one such as 10.0.0.0/8", text))
		case !network.Contains(except.Addr()) || except.Bits() <= network.Bits():
			all = append(all, fmt.Sprintf("except %s is not within cidr %s", text, p.IPBlock.CIDR))
		}
	}
	return all
}
