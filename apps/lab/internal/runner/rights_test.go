package runner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// A run asks for what its overlay applies and grants and for what its experiments
// do, in its own namespace; beyond that for its Namespace, and only with node
// proxies for a look at the whole cluster. That the rights suffice is tested on a
// cluster: TestExistingCluster.
func TestRights(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	particular := map[string][]kube.Right{
		"k8s-api": {
			{Verb: "watch", Group: "discovery.k8s.io", Resource: "endpointslices"},
			{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "rolebindings"},
		},
		"linkerd": {
			{Verb: "watch", Resource: "endpoints"}, {Verb: "get", Resource: "pods/proxy"},
			{Verb: "create", Group: "apps", Resource: "daemonsets"},
		},
		"envoy": {{Verb: "create", Resource: "pods/eviction"}, {Verb: "delete", Resource: "configmaps"}},
		"gateway": {
			{Verb: "create", Group: "gateway.networking.k8s.io", Resource: "gateways"},
			{Verb: "patch", Group: "gateway.networking.k8s.io", Resource: "grpcroutes"},
		},
		"istio": {{Verb: "create", Resource: "pods/exec"}},
		"dns":   {{Verb: "create", Resource: "pods/exec"}},
	}
	for _, s := range strategy.All() {
		t.Run(s.Name, func(t *testing.T) {
			rendered, err := repository.Render(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := manifest.Unstructured(rendered)
			if err != nil {
				t.Fatal(err)
			}
			rights, err := runner.Rights(s, objects)
			if err != nil {
				t.Fatal(err)
			}
			namespace := manifest.Namespace(s.Name)
			wanted := slices.Concat(particular[s.Name], []kube.Right{
				{Verb: "create", Group: "apps", Resource: "deployments"},
				{Verb: "patch", Group: "apps", Resource: "deployments/scale"},
				{Verb: "watch", Resource: "pods"},
			})
			for _, want := range wanted {
				if want.Namespace = namespace; !slices.Contains(rights, want) {
					t.Errorf("it lacks %+v", want)
				}
			}
			var outside []string
			for _, r := range rights {
				if r.Namespace != namespace {
					outside = append(outside, strings.TrimSpace(r.Verb+" "+r.Resource+" "+r.Name))
				}
			}
			want := []string{"get namespaces " + namespace, "create namespaces " + namespace, "patch namespaces " + namespace, "delete namespaces " + namespace}
			if s.Name == "linkerd" {
				want = append(want, "list nodes", "list pods", "create subjectaccessreviews")
			}
			if !slices.Equal(outside, want) {
				t.Errorf("outside of its namespace it wants %q, want %q", outside, want)
			}
			if slices.ContainsFunc(rights, func(r kube.Right) bool { return r.Verb == "*" || r.Resource == "*" }) {
				t.Error("it wants everything")
			}
		})
	}
}
