package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// networkPolicies finds NetworkPolicies that admit no call from the client to the
// servers' port. Whether they are enforced is not known, so no verdict changes.
// Source: the API reference of NetworkPolicy, networking.k8s.io/v1.
func (c *Cluster) networkPolicies(p *Path, from manifest.Workload, servers []manifest.Workload, port intstr.IntOrString) {
	for _, to := range servers {
		if from.Template.Spec.HostNetwork || to.Template.Spec.HostNetwork {
			continue // what holds for the node's network is not defined
		}
		client, server := manifest.Describe(from.Object), manifest.Describe(to.Object)
		for _, number := range podNumbers([]manifest.Workload{to}, port) {
			if closed := c.closed(networkingv1.PolicyTypeIngress, to, from, to, number); closed.by != nil {
				p.find("network-policy", closed.by, "", "no rule of ingress admits %s at port %d of %s%s", client, number, server, closed.instead)
			}
			if closed := c.closed(networkingv1.PolicyTypeEgress, from, to, to, number); closed.by != nil {
				p.find("network-policy", closed.by, "", "no rule of egress lets %s call port %d of %s%s", client, number, server, closed.instead)
			}
		}
	}
}

// closing is a policy that closes a way, or none, and what it admits instead.
type closing struct {
	by      manifest.Object
	instead string
}

// closed returns the policy of the direction that comes closest to admitting the peer at
// the server's port, if none does. It returns none if one does, or if no policy selects the
// pods of the workload.
func (c *Cluster) closed(direction networkingv1.PolicyType, of, peer, server manifest.Workload, port int32) closing {
	var found closing
	selected, nearest := false, 0
	nearer := func(how int, policy manifest.Object, instead string) {
		if how >= nearest {
			found, nearest = closing{policy, instead}, how
		}
	}
	for _, policy := range c.policiesOf(of) {
		applied := applies(policy, direction)
		selected = selected || applied
		if applied {
			nearer(0, policy, "")
		}
		for _, r := range rules(policy, direction) {
			atPort, ofPeer := r.admitsPort(server, port), c.admitsPeer(policy, r.peers, peer)
			switch {
			case applied && atPort && ofPeer:
				return closing{}
			case applied && ofPeer && len(r.peers) > 0 && !r.isForDNS():
				nearer(3, policy, fmt.Sprintf(": its rule for these pods admits %s alone, and a policy sees the port of the pods", portsText(r.ports)))
			case applied && atPort:
				nearer(2, policy, fmt.Sprintf(": its rule for the port admits %s alone", peersText(r.peers)))
			case applied:
				nearer(1, policy, "")
			case atPort && ofPeer:
				nearer(4, policy, fmt.Sprintf(": its policyTypes, %v, leave its rule of %s out", policy.Spec.PolicyTypes, strings.ToLower(string(direction))))
			}
		}
	}
	if !selected {
		return closing{}
	}
	return found
}

// policiesOf returns the policies that select the pods of a workload. It returns none where
// policies of another API, which come before these or admit more, are among the objects too.
func (c *Cluster) policiesOf(w manifest.Workload) []*networkingv1.NetworkPolicy {
	for _, o := range manifest.All[*unstructured.Unstructured](c.objects) {
		if strings.HasSuffix(o.GetKind(), "NetworkPolicy") && sameNamespace(o.GetNamespace(), w.GetNamespace()) {
			return nil
		}
	}
	return slices.DeleteFunc(manifest.All[*networkingv1.NetworkPolicy](c.objects), func(policy *networkingv1.NetworkPolicy) bool {
		return !sameNamespace(policy.Namespace, w.GetNamespace()) || !selects(&policy.Spec.PodSelector, podLabels(w))
	})
}

// podLabels returns the labels of a pod of the workload, with those that its controller adds.
// Source: Kubernetes, "Well-Known Labels, Annotations and Taints".
func podLabels(w manifest.Workload) labels.Set {
	added := labels.Set{}
	switch o := w.Object.(type) {
	case *appsv1.StatefulSet:
		added[appsv1.StatefulSetPodNameLabel], added[appsv1.PodIndexLabel] = o.Name+"-0", "0"
	case *batchv1.Job:
		added["job-name"], added[batchv1.JobNameLabel] = o.Name, o.Name
	}
	return labels.Merge(added, w.Template.Labels)
}

func portsText(ports []networkingv1.NetworkPolicyPort) string {
	var all []string
	for _, p := range ports {
		text := "any port"
		switch {
		case p.Port != nil && p.EndPort != nil:
			text = fmt.Sprintf("ports %s to %d", p.Port, *p.EndPort)
		case p.Port != nil:
			text = "port " + p.Port.String()
		}
		if p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			text += " of " + string(*p.Protocol)
		}
		all = append(all, text)
	}
	return strings.Join(all, " and ")
}

func peersText(peers []networkingv1.NetworkPolicyPeer) string {
	selector := func(what string, s *metav1.LabelSelector) string {
		if s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
			return "all " + what
		}
		return what + " with " + metav1.FormatLabelSelector(s)
	}
	var all []string
	for _, p := range peers {
		switch {
		case p.IPBlock != nil && len(p.IPBlock.Except) > 0:
			all = append(all, fmt.Sprintf("%s except %s", p.IPBlock.CIDR, strings.Join(p.IPBlock.Except, ", ")))
		case p.IPBlock != nil:
			all = append(all, p.IPBlock.CIDR)
		case p.NamespaceSelector != nil:
			all = append(all, selector("pods", p.PodSelector)+" of "+selector("namespaces", p.NamespaceSelector))
		default:
			all = append(all, selector("pods", p.PodSelector)+" of its own namespace")
		}
	}
	return strings.Join(all, " or ")
}

// isForDNS says whether a rule admits what asks for names, and so no calls.
func (r networkRule) isForDNS() bool {
	return slices.ContainsFunc(r.ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port != nil && p.Port.IntVal == 53 })
}

// applies follows the default of policyTypes: Ingress, and Egress if there are rules
// for it.
func applies(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if types := policy.Spec.PolicyTypes; len(types) > 0 {
		return slices.Contains(types, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(policy.Spec.Egress) > 0
}

// networkRule is a rule of either direction. Without peers or without ports it admits
// all.
type networkRule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rules(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []networkRule {
	var all []networkRule
	if direction == networkingv1.PolicyTypeEgress {
		for _, r := range policy.Spec.Egress {
			all = append(all, networkRule{r.To, r.Ports})
		}
		return all
	}
	for _, r := range policy.Spec.Ingress {
		all = append(all, networkRule{r.From, r.Ports})
	}
	return all
}

func (r networkRule) admitsPort(server manifest.Workload, number int32) bool {
	return len(r.ports) == 0 || slices.ContainsFunc(r.ports, func(p networkingv1.NetworkPolicyPort) bool {
		switch {
		case p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP:
			return false
		case p.Port == nil:
			return true
		case p.EndPort != nil:
			return p.Port.IntVal <= number && number <= *p.EndPort
		}
		return slices.Contains(podNumbers([]manifest.Workload{server}, *p.Port), number)
	})
}

// admitsPeer gives a peer that cannot be decided the benefit of the doubt: a block of
// private addresses, or a namespace whose labels are not known.
func (c *Cluster) admitsPeer(policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, pods manifest.Workload) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return mayHold(p.IPBlock, pods)
		}
		if p.PodSelector != nil && !selects(p.PodSelector, podLabels(pods)) {
			return false
		}
		if p.NamespaceSelector == nil {
			return sameNamespace(policy.Namespace, pods.GetNamespace())
		}
		return pods.GetNamespace() == "" || c.mayMean(p.NamespaceSelector, pods.GetNamespace())
	})
}

// mayMean says whether a selector can mean a namespace.
func (c *Cluster) mayMean(selector *metav1.LabelSelector, namespace string) bool {
	known := c.namespaces[namespace]
	if len(known) == 0 {
		return mayName(selector, namespace)
	}
	return selects(selector, labels.Merge(known[0].Labels, labels.Set{corev1.LabelMetadataName: namespace}))
}

// privateNetworks are those from which clusters give addresses to pods, which no other
// setting shows. Source: RFC 1918.
var privateNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}

// sharedNetwork has the addresses of pods in some clouds. Source: RFC 6598.
var sharedNetwork = netip.MustParsePrefix("100.64.0.0/10")

// localNetworks are those of IPv6. Source: RFC 4193.
var localNetworks = netip.MustParsePrefix("fd00::/8")

// mayHold says whether a block can have the addresses of pods: those that they have, or
// private ones. A block of IPv6 can have any, unless it leaves local ones out.
func mayHold(block *networkingv1.IPBlock, pods manifest.Workload) bool {
	network, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return true // the API server refuses what is no block
	}
	excepted := func(n netip.Prefix) bool {
		return slices.ContainsFunc(block.Except, func(text string) bool {
			e, err := netip.ParsePrefix(text)
			return err == nil && e.Bits() <= n.Bits() && e.Contains(n.Addr())
		})
	}
	if pod, ok := pods.Object.(*corev1.Pod); ok {
		if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil && ip.Is4() {
			return network.Contains(ip) && !excepted(netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	if network.Addr().Is6() {
		return !excepted(localNetworks)
	}
	return sharedNetwork.Overlaps(network) && network.Bits() >= sharedNetwork.Bits() || slices.ContainsFunc(privateNetworks, func(n netip.Prefix) bool {
		if network.Bits() > n.Bits() {
			return n.Contains(network.Addr())
		}
		return network.Contains(n.Addr()) && !excepted(n)
	})
}

// mayName says whether a selector can mean a namespace of which only the name is known: it is
// the value of one label.
func mayName(selector *metav1.LabelSelector, namespace string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return true
	}
	requirements, _ := s.Requirements()
	return !slices.ContainsFunc(requirements, func(r labels.Requirement) bool {
		return r.Key() == corev1.LabelMetadataName && !r.Matches(labels.Set{corev1.LabelMetadataName: namespace})
	})
}

func selects(selector *metav1.LabelSelector, set labels.Set) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err != nil || s.Matches(set) // the API server refuses a selector that is wrong
}
