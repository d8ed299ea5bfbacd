package experiment_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
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
		"istio": {{Verb: "create", Resource: "pods/exec"}},
		"xds":   {{Verb: "create", Resource: "pods/exec"}},
	}
	for _, s := range experiment.Strategies {
		t.Run(s.Name, func(t *testing.T) {
			rendered, err := repository.Render(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := manifest.Unstructured(rendered)
			if err != nil {
				t.Fatal(err)
			}
			rights, err := experiment.Rights(s, objects)
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

// A claim whose reason is a limit of the cluster says so; what merely was not
// measured does not.
func TestJudgeOutOfReach(t *testing.T) {
	claim := experiment.Of("k8s-api")[slices.IndexFunc(experiment.Of("k8s-api"), func(c experiment.Claim) bool { return c.ID == 8 })]
	for _, test := range []struct {
		name  string
		facts experiment.Facts
		want  bool
	}{
		{name: "no_audit_log_ever", facts: experiment.Facts{RequestsUnknown: "the log is out of reach", OutOfReach: []string{"the log is out of reach"}}, want: true},
		{name: "broken_audit_log", facts: experiment.Facts{RequestsUnknown: "reading it: EOF", OutOfReach: []string{"the processes are out of reach"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := claim.Judge(&test.facts, ""); got.OutOfReach != test.want || got.Status != report.NotRun {
				t.Errorf("claim %+v, want not run and out of reach %v", got, test.want)
			}
		})
	}
}

// The limits of these strategies follow from the cluster's DNS.
func TestTrailsDNS(t *testing.T) {
	var got []string
	for _, s := range experiment.Strategies {
		if experiment.TrailsDNS(s) {
			got = append(got, s.Name)
		}
	}
	if want := []string{"dns", "dns-max-age", "envoy"}; !slices.Equal(got, want) {
		t.Errorf("strategies %q, want %q", got, want)
	}
}
