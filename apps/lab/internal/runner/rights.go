package runner

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// access is a rule of rights: every verb on every resource of a group.
type access struct {
	group     string
	resources []string
	verbs     []string
}

// measuring is what the experiments do in a strategy's namespace, whatever the
// overlay.
var measuring = []access{
	{"", []string{"pods"}, []string{"get", "list", "watch", "delete", "deletecollection"}},
	{"", []string{"pods/log"}, []string{"get"}},
	{"", []string{"events"}, []string{"list"}},
	{"apps", []string{"deployments/scale"}, []string{"patch"}},
	{"batch", []string{"jobs"}, []string{"create", "delete"}},
	{"discovery.k8s.io", []string{"endpointslices"}, []string{"list", "watch"}},
}

// injecting is what it takes to ask sidecars; which of the verbs a WebSocket
// needs is a matter of the API server's version.
var injecting = []access{{"", []string{"pods/exec"}, []string{"create", "get"}}}

// proxying is what the experiments with proxies of a Deployment do.
var proxying = []access{
	{"", []string{"configmaps"}, []string{"create", "delete", "get"}},
	{"", []string{"pods/eviction"}, []string{"create"}},
	{"apps", []string{"deployments"}, []string{"get"}},
}

// nodeProxying is what those with proxies on the nodes do in the namespace, and
// looking is what they look at everywhere.
var (
	nodeProxying = []access{{"", []string{"pods/proxy"}, []string{"get"}}}
	looking      = []access{
		{"", []string{"nodes", "pods"}, []string{"list"}},
		{"authorization.k8s.io", []string{"subjectaccessreviews"}, []string{"create"}},
	}
)

// Rights returns what a run of the strategy does on a cluster that has all else:
// it applies the overlay, grants what the overlay grants, measures and deletes
// the namespace. Objects are the overlay's rendering.
func Rights(s Strategy, objects []*unstructured.Unstructured) ([]kube.Right, error) {
	namespace := manifest.Namespace(s.Name)
	var all []kube.Right
	add := func(namespace, object string, rules ...access) {
		for _, r := range rules {
			for _, resource := range r.resources {
				for _, verb := range r.verbs {
					all = append(all, kube.Right{Verb: verb, Group: r.group, Resource: resource, Namespace: namespace, Name: object})
				}
			}
		}
	}
	add("", namespace, access{"", []string{"namespaces"}, []string{"get", "create", "patch", "delete"}})
	node := false
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			continue
		}
		node = node || o.GetKind() == "DaemonSet" && o.GetName() == s.Proxy
		resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		add(namespace, "", access{resource.Group, []string{resource.Resource}, []string{"create", "patch"}})
		if o.GetKind() == "Role" { // nobody may grant what he may not do
			granted, err := rulesOf(o)
			if err != nil {
				return nil, err
			}
			add(namespace, "", granted...)
		}
	}
	add(namespace, "", measuring...)
	switch {
	case s.Sidecar != "":
		add(namespace, "", injecting...)
	case node:
		add(namespace, "", nodeProxying...)
		add("", "", looking...)
	case s.Proxy != "":
		add(namespace, "", proxying...)
	}
	return all, nil
}

func rulesOf(role *unstructured.Unstructured) ([]access, error) {
	rules, _, err := unstructured.NestedSlice(role.Object, "rules")
	if err != nil {
		return nil, fmt.Errorf("experiment: Role/%s: %w", role.GetName(), err)
	}
	var all []access
	for _, rule := range rules {
		fields, ok := rule.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("experiment: Role/%s has the rule %v: expected an object", role.GetName(), rule)
		}
		groups, _, _ := unstructured.NestedStringSlice(fields, "apiGroups")
		resources, _, _ := unstructured.NestedStringSlice(fields, "resources")
		verbs, _, _ := unstructured.NestedStringSlice(fields, "verbs")
		if slices.Contains(slices.Concat(groups, resources, verbs), "*") || len(groups)*len(resources)*len(verbs) == 0 {
			return nil, fmt.Errorf("experiment: Role/%s has a rule with nothing or everything in it: %v", role.GetName(), rule)
		}
		for _, group := range groups {
			all = append(all, access{group, resources, verbs})
		}
	}
	return all, nil
}
