package runner

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Access is every verb on every resource of an API group, in the strategy's
// namespace or in the whole cluster.
type Access struct {
	Group            string
	Resources, Verbs []string
	Everywhere       bool
}

// In returns the rights that the access is made of for a strategy in that namespace.
func (a Access) In(namespace string) (rights []kube.Right) {
	if a.Everywhere {
		namespace = ""
	}
	for _, resource := range a.Resources {
		for _, verb := range a.Verbs {
			rights = append(rights, kube.Right{Verb: verb, Group: a.Group, Resource: resource, Namespace: namespace})
		}
	}
	return rights
}

// measuring is the access that every run takes in a strategy's namespace, with any
// overlay and any experiment.
var measuring = []Access{
	{Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "delete", "deletecollection"}},
	{Resources: []string{"pods/log"}, Verbs: []string{"get"}},
	{Resources: []string{"events"}, Verbs: []string{"list"}},
	{Group: "apps", Resources: []string{"deployments/scale"}, Verbs: []string{"patch"}},
	{Group: "batch", Resources: []string{"jobs"}, Verbs: []string{"create", "delete"}},
	{Group: "discovery.k8s.io", Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
}

// Rights returns what a run of the strategy does on a cluster that has all else:
// it applies the overlay, grants what the overlay grants, makes its experiments and
// deletes the namespace. Objects are the overlay's rendering. Access that
// several need is listed once.
func Rights(s Strategy, objects []*unstructured.Unstructured) ([]kube.Right, error) {
	namespace := manifest.Namespace(s.Name)
	var all []kube.Right
	add := func(object string, rules ...Access) {
		for _, r := range rules {
			for _, right := range r.In(namespace) {
				right.Name = object
				if !slices.Contains(all, right) {
					all = append(all, right)
				}
			}
		}
	}
	add(namespace, Access{Resources: []string{"namespaces"}, Verbs: []string{"get", "create", "patch", "delete"}, Everywhere: true})
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			continue
		}
		add("", Access{Group: o.GroupVersionKind().Group, Resources: []string{resourceOf(o)}, Verbs: []string{"create", "patch"}})
		if o.GetKind() == "Role" { // nobody may grant what they may not do
			granted, err := rulesOf(o)
			if err != nil {
				return nil, err
			}
			add("", granted...)
		}
	}
	add("", measuring...)
	if s.TLS {
		add("", Access{Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}})
	}
	for _, e := range s.Experiments {
		if e.Rights != nil {
			add("", e.Rights(s)...)
		}
	}
	if s.Preflight != nil {
		add("", s.Preflight.Rights...)
	}
	return all, nil
}

// resourceOf guesses the resource of an object's kind, as Kubernetes' own guess does, but
// for a vowel before the y of Gateway.
func resourceOf(o *unstructured.Unstructured) string {
	if o.GetKind() == "Gateway" {
		return "gateways"
	}
	resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return resource.Resource
}

func rulesOf(role *unstructured.Unstructured) ([]Access, error) {
	rules, _, err := unstructured.NestedSlice(role.Object, "rules")
	if err != nil {
		return nil, fmt.Errorf("runner: Role/%s: %w", role.GetName(), err)
	}
	var all []Access
	for _, rule := range rules {
		fields, ok := rule.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("runner: Role/%s has the rule %v: expected an object", role.GetName(), rule)
		}
		groups, _, _ := unstructured.NestedStringSlice(fields, "apiGroups")
		resources, _, _ := unstructured.NestedStringSlice(fields, "resources")
		verbs, _, _ := unstructured.NestedStringSlice(fields, "verbs")
		if slices.Contains(slices.Concat(groups, resources, verbs), "*") || len(groups)*len(resources)*len(verbs) == 0 {
			return nil, fmt.Errorf("runner: Role/%s has a rule with nothing or everything in it: %v", role.GetName(), rule)
		}
		for _, group := range groups {
			all = append(all, Access{Group: group, Resources: resources, Verbs: verbs})
		}
	}
	return all, nil
}
