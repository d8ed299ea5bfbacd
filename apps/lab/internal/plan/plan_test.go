package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/thirdparty"
)

// Argo CD syncs every overlay, however few are measured: the nodes need the images
// of all of them. Where the overlays are applied they need those of the few.
func TestPlanImages(t *testing.T) {
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	all, err := repository.List()
	if err != nil {
		t.Fatal(err)
	}
	refs := func(o Options) []string {
		p, err := newPlan(t, o, thisMachine)
		if err != nil {
			t.Fatal(err)
		}
		return p.refs()
	}
	want := refs(Options{Overlays: all})
	if len(want) < 2 {
		t.Errorf("all overlays need %q, want the images of Envoy and Linkerd among them", want)
	}
	if diff := cmp.Diff(want, refs(Options{Overlays: []string{"l4"}, GitOps: true})); diff != "" {
		t.Errorf("images where Argo CD deploys and l4 alone is measured (-want +got):\n%s", diff)
	}
	if got := refs(Options{Overlays: []string{"l4"}}); len(got) > 0 {
		t.Errorf("l4 alone needs %q, want none", got)
	}
}

// Nodes of another architecture get no image that is packed with this machine's
// libraries: the strategies that need one say so, and the others are measured.
func TestPlanForOtherNodes(t *testing.T) {
	on := Target{Nodes: Nodes{Architectures: []string{"s390x"}}}
	p, err := newPlan(t, Options{Overlays: []string{"l4", "istio"}}, on)
	if err != nil {
		t.Fatal(err)
	}
	if why := p.remarks.unavailable["istio"]; p.mesh || !strings.Contains(why, "linux/s390x") || p.remarks.unavailable["l4"] != "" {
		t.Errorf("istio is unavailable because %q, l4 because %q, mesh %t; want the nodes' platform for istio alone", why, p.remarks.unavailable["l4"], p.mesh)
	}
	if p.builder.NodeArch != "s390x" {
		t.Errorf("components are built for %q, want s390x", p.builder.NodeArch)
	}
	if _, err := newPlan(t, Options{Overlays: []string{"l4"}, GitOps: true}, on); err == nil || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("with Argo CD: %v, want the nodes' platform", err)
	}
}

// A machine without a registry of others must run all strategies but those whose
// image only such a registry has, unless the user gives that.
func TestProvided(t *testing.T) {
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	all, err := repository.All()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(t, Options{Overlays: all}, thisMachine)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(p.names(), func(name string) bool { return name == "linkerd" })
	if diff := cmp.Diff(want, p.Provided()); diff != "" {
		t.Errorf("provided (-want +got):\n%s", diff)
	}
	p.thirdParty.Given = map[string]thirdparty.Found{}
	for _, ref := range p.named["linkerd"] {
		p.thirdParty.Given[ref] = thirdparty.Found{}
	}
	if got := p.Provided(); !slices.Contains(got, "linkerd") {
		t.Errorf("with its images given, %q are provided, want linkerd among them", got)
	}
	p.GitOps = true
	if got := p.Provided(); !slices.Contains(got, argocd.Name) {
		t.Errorf("with Argo CD, %q are provided, want argocd among them", got)
	}
}

// The Gateway API is there for a strategy with a Gateway, for an experiment with routes in a
// mesh, and for Argo CD, which syncs every overlay; not where nothing may be installed.
func TestPlanGateways(t *testing.T) {
	registry, err := image.ParseRegistry("localhost:5000/lab")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		options Options
		on      Target
		want    bool
	}{
		{name: "the_strategy", options: Options{Overlays: []string{"gateway"}}, on: thisMachine, want: true},
		{name: "another_strategy", options: Options{Overlays: []string{"istio"}}, on: thisMachine},
		{name: "routes_in_a_mesh", options: Options{Overlays: []string{"istio"}, Experiments: []string{strategy.Routes}}, on: thisMachine, want: true},
		{name: "argocd", options: Options{Overlays: []string{"l4"}, GitOps: true}, on: thisMachine, want: true},
		{name: "no_install", options: Options{Overlays: []string{"gateway"}, NoInstall: true}, on: thisMachine},
		{name: "cluster_of_others", options: Options{Overlays: []string{"gateway"}}, on: Target{Nodes: thisMachine.Nodes, Registry: &registry}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := newPlan(t, test.options, test.on)
			if err != nil {
				t.Fatal(err)
			}
			if needs := namesOf(p.Components()); slices.Contains(needs, component.GatewayAPI.Name) != test.want {
				t.Errorf("builds %q, want the Gateway API among them: %t", needs, test.want)
			}
		})
	}
}

// What an experiment needs on its cluster is built for a run that is asked for it, and where
// the lab may install it; no other run builds it.
func TestPlanAddons(t *testing.T) {
	registry, err := image.ParseRegistry("localhost:5000/lab")
	if err != nil {
		t.Fatal(err)
	}
	for experiment, addon := range map[string]component.Component{strategy.HPA: component.MetricsServer, strategy.NetworkPolicy: component.KubeRouter} {
		for _, test := range []struct {
			name    string
			options Options
			on      Target
			want    bool
		}{
			{name: "asked", options: Options{Experiments: []string{experiment}}, on: thisMachine, want: true},
			{name: "the_usual_run", on: thisMachine},
			{name: "another_experiment", options: Options{Experiments: []string{strategy.ScaleIn}}, on: thisMachine},
			{name: "no_install", options: Options{Experiments: []string{experiment}, NoInstall: true}, on: thisMachine},
			{name: "cluster_of_others", options: Options{Experiments: []string{experiment}}, on: Target{Nodes: thisMachine.Nodes, Registry: &registry}},
		} {
			t.Run(experiment+"/"+test.name, func(t *testing.T) {
				test.options.Overlays = []string{"l4", "k8s-api"}
				p, err := newPlan(t, test.options, test.on)
				if err != nil {
					t.Fatal(err)
				}
				if needs := namesOf(p.Components()); slices.Contains(needs, addon.Name) != test.want {
					t.Errorf("builds %q, want %s among them: %t", needs, addon.Name, test.want)
				}
			})
		}
	}
}
