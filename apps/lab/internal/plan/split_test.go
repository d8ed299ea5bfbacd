package plan

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// thisMachine is what nodes are that are like it.
var thisMachine = Target{Nodes: Nodes{Architectures: []string{runtime.GOARCH}}}

const repositoryRoot = "../../../.."

// newPlan plans for this repository with an empty cache and a registry of components
// that nobody asks.
func newPlan(t *testing.T, o Options, on Target) (*Plan, error) {
	t.Helper()
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	if o.Purpose == runner.Any {
		o.Purpose = runner.Prove
	}
	registry, err := component.ParseRegistry("registry.invalid/lab-components")
	if err != nil {
		t.Fatal(err)
	}
	return New(repository, component.Builder{Root: repository.Root(), Cache: t.TempDir(), Registry: registry}, o, on)
}

// pretend makes the cache look as if the components were built.
func pretend(t *testing.T, b component.Builder, built ...component.Component) {
	t.Helper()
	for _, c := range built {
		dir, _, err := b.Path(c)
		if err == nil {
			err = os.MkdirAll(dir, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What needs no Istio is measured before Istio is compiled, without anything of it, and
// all at once where there is nothing to gain or the pods of the first would stay.
func TestSplit(t *testing.T) {
	all := []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"}
	for _, test := range []struct {
		name        string
		options     Options
		built       []component.Component
		first, then []string // nil where all are measured at once
	}{
		{name: "nothing_is_built", options: Options{Overlays: all}, first: all[:4], then: all[4:]},
		{name: "all_but_istio_is_built", options: Options{Overlays: all}, built: component.Cluster, first: all[:4], then: all[4:]},
		{name: "istio_is_built", options: Options{Overlays: all}, built: []component.Component{component.Istio}},
		{name: "no_istio", options: Options{Overlays: all[:4]}},
		{name: "istio_alone", options: Options{Overlays: all[4:]}},
		{name: "no_install", options: Options{Overlays: all, NoInstall: true}},
		{name: "keep", options: Options{Overlays: all, Keep: true}},
		{name: "argocd", options: Options{Overlays: all, GitOps: true}},
		{name: "costs_side_by_side", options: Options{Overlays: all, Purpose: runner.Compare}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := newPlan(t, test.options, thisMachine)
			if err != nil {
				t.Fatal(err)
			}
			pretend(t, p.builder, test.built...)
			first, then, err := p.split()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil && then == nil && test.first == nil {
				return
			}
			if diff := cmp.Diff([][]string{test.first, test.then}, [][]string{first.names(), then.names()}); diff != "" {
				t.Fatalf("measured before and after Istio is compiled (-want +got):\n%s", diff)
			}
			if needs := namesOf(first.Components()); slices.Contains(needs, component.Istio.Name) || !slices.Contains(needs, component.Envoy.Name) {
				t.Errorf("the first need %q, want Envoy and not Istio", needs)
			}
			if needs := namesOf(then.Components()); !slices.Contains(needs, component.Istio.Name) {
				t.Errorf("the others need %q, want Istio", needs)
			}
			if diff := cmp.Diff(test.options.Overlays, p.runnable()); diff != "" {
				t.Errorf("runnable (-want +got):\n%s", diff)
			}
		})
	}
}

// Who starts a run reads first what it builds or fetches, why, how long it takes, and
// what is judged first.
func TestEstimate(t *testing.T) {
	all := []string{"l4", "istio"}
	for _, test := range []struct {
		name     string
		only     []string
		built    []component.Component
		compiles bool // everything, and asks no registry
		want     []string
	}{
		{
			name: "nothing_is_recorded", only: all, want: []string{
				"builds kubernetes, containerd, etcd, coredns, cni, pause, ko, istio, istioctl and envoy, since no digest of these sources is in " + component.Digests,
				"; first the claims about l4, in about ", " min on 2 CPUs, then those about istio, in about ",
			},
		},
		{name: "no_registry", compiles: true, only: all[:1], built: component.Cluster, want: []string{"builds ko, since no registry may be asked; all claims in about "}},
		{name: "everything_is_built", only: all[:1], built: append(slices.Clone(component.Cluster), component.Ko), want: []string{"everything is built; all claims in about 5 min"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := newPlan(t, Options{Overlays: test.only}, thisMachine)
			if err != nil {
				t.Fatal(err)
			}
			if test.compiles {
				p.builder.Registry = nil
			}
			pretend(t, p.builder, test.built...)
			got, err := p.Estimate(component.Cluster, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q lacks %q", got, want)
				}
			}
		})
	}
}
