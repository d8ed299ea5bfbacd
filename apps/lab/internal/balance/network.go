package balance

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// networkPolicies finds NetworkPolicies that admit no call from the client to the
// servers' port. Whether they are enforced is not known, so no verdict changes.
// Source: the API reference of NetworkPolicy, networking.k8s.io/v1.
func (c *Cluster) networkPolicies(p *Path, from manifest.Workload, servers []manifest.Workload, port intstr.IntOrString) {
	if from.Template.Spec.HostNetwork {
		return // what holds for the node's network is not defined
	}
	for _, to := range servers {
		for _, number := range podNumbers([]manifest.Workload{to}, port) {
			if closed := c.closed(networkingv1.PolicyTypeIngress, to, from, to, number); closed != nil {
				p.find("network-policy", closed, "", "no rule of ingress admits %s at port %d of %s", manifest.Describe(from.Object), number, manifest.Describe(to.Object))
			}
			if closed := c.closed(networkingv1.PolicyTypeEgress, from, to, to, number); closed != nil {
				p.find("network-policy", closed, "", "no rule of egress lets %s call port %d of %s", manifest.Describe(from.Object), number, manifest.Describe(to.Object))
			}
		}
	}
}

// closed returns a policy of the direction that selects the pods of a workload, if none
// of these policies admits the peer at the server's port. It returns nil if they do, or
// if no policy selects the pods.
func (c *Cluster) closed(direction networkingv1.PolicyType, of, peer, server manifest.Workload, port int32) manifest.Object {
	var selecting manifest.Object
	for _, policy := range manifest.All[*networkingv1.NetworkPolicy](c.objects) {
		if !sameNamespace(policy.Namespace, of.GetNamespace()) || !applies(policy, direction) || !selects(&policy.Spec.PodSelector, of.Template.Labels) {
			continue
		}
		selecting = policy
		for _, r := range rules(policy, direction) {
			if r.admitsPort(server, port) && c.admitsPeer(policy, r.peers, peer) {
				return nil
			}
		}
	}
	return selecting
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
// addresses, or a namespace whose labels are not known.
func (c *Cluster) admitsPeer(policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, pods manifest.Workload) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return true
		}
		if p.PodSelector != nil && !selects(p.PodSelector, pods.Template.Labels) {
			return false
		}
		if p.NamespaceSelector == nil {
			return sameNamespace(policy.Namespace, pods.GetNamespace())
		}
		namespace := c.namespace(pods)
		if namespace == nil {
			return pods.GetNamespace() == "" || mayName(p.NamespaceSelector, pods.GetNamespace())
		}
		return selects(p.NamespaceSelector, labels.Merge(namespace.Labels, labels.Set{corev1.LabelMetadataName: namespace.Name}))
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
