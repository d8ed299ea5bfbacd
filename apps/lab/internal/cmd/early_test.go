package main

import (
	"bytes"
	gocmp "cmp"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// thisMachine is what nodes are that are like it.
var thisMachine = nodeArchitectures{all: []string{runtime.GOARCH}}

// emptyCheckout is this repository with an empty cache.
func emptyCheckout(t *testing.T) checkout {
	t.Helper()
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	return newCheckout(repository, dirs.New(t.TempDir(), repository.Root()))
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
func TestEarly(t *testing.T) {
	all := []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"}
	for _, test := range []struct {
		name        string
		options     runOptions
		purpose     runner.Purpose
		built       []component.Component
		first, then []string // nil where all are measured at once
	}{
		{name: "nothing_is_built", options: runOptions{only: all}, first: all[:4], then: all[4:]},
		{name: "all_but_istio_is_built", options: runOptions{only: all}, built: component.Cluster, first: all[:4], then: all[4:]},
		{name: "istio_is_built", options: runOptions{only: all}, built: []component.Component{component.Istio}},
		{name: "no_istio", options: runOptions{only: all[:4]}},
		{name: "istio_alone", options: runOptions{only: all[4:]}},
		{name: "no_install", options: runOptions{only: all, noInstall: true}},
		{name: "keep", options: runOptions{only: all, keep: true}},
		{name: "argocd", options: runOptions{only: all, deploy: argocd.Name}},
		{name: "costs_side_by_side", options: runOptions{only: all}, purpose: runner.Compare},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := emptyCheckout(t)
			p, err := c.planOf(test.options, thisMachine, gocmp.Or(test.purpose, runner.Prove))
			if err != nil {
				t.Fatal(err)
			}
			pretend(t, p.builder, test.built...)
			first, then, err := p.early()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil && then == nil && test.first == nil {
				return
			}
			if diff := cmp.Diff([][]string{test.first, test.then}, [][]string{first.names(), then.names()}); diff != "" {
				t.Fatalf("measured before and after Istio is compiled (-want +got):\n%s", diff)
			}
			if needs := namesOf(first.components()); slices.Contains(needs, component.Istio.Name) || !slices.Contains(needs, component.Envoy.Name) {
				t.Errorf("the first need %q, want Envoy and not Istio", needs)
			}
			if needs := namesOf(then.components()); !slices.Contains(needs, component.Istio.Name) {
				t.Errorf("the others need %q, want Istio", needs)
			}
			if diff := cmp.Diff(test.options.only, p.runnable()); diff != "" {
				t.Errorf("runnable (-want +got):\n%s", diff)
			}
		})
	}
}

// Who starts a run reads first what it builds or fetches, why, how long it takes, and
// what is judged first.
func TestExpected(t *testing.T) {
	all := []string{"l4", "istio"}
	for _, test := range []struct {
		name       string
		components string // the flag's value
		only       []string
		built      []component.Component
		want       []string
	}{
		{
			name: "nothing_is_recorded", only: all, want: []string{
				"builds kubernetes, containerd, etcd, coredns, cni, pause, ko, istio, istioctl and envoy, since no digest of these sources is in " + component.Digests,
				"; first the claims about l4, in about ", " min on 2 CPUs, then those about istio, in about ",
			},
		},
		{name: "no_registry", components: noComponents, only: all[:1], built: component.Cluster, want: []string{"builds ko, since no registry may be asked; all claims in about "}},
		{name: "everything_is_built", only: all[:1], built: append(slices.Clone(component.Cluster), component.Ko), want: []string{"everything is built; all claims in about 5 min"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := emptyCheckout(t)
			p, err := c.planOf(runOptions{only: test.only, up: upOptions{components: test.components}}, thisMachine, runner.Prove)
			if err != nil {
				t.Fatal(err)
			}
			pretend(t, p.builder, test.built...)
			got, err := p.expected(component.Cluster, 2)
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
	if _, err := emptyCheckout(t).planOf(runOptions{only: all, up: upOptions{components: "nowhere"}}, thisMachine, runner.Prove); err == nil || !strings.Contains(err.Error(), `--components: image: registry "nowhere"`) {
		t.Errorf("error %v, want one that names --components", err)
	}
}

// A claim is printed when it is proven, once, and no other.
func TestPrintProven(t *testing.T) {
	var out bytes.Buffer
	judged := printProven(progress.NewPrinter(&out, 1, 0), report.Style{})
	proven := report.Claim{ID: 2, Strategy: "l4", Status: report.Proven, Text: "a client stays on one server"}
	refuted := report.Claim{ID: 3, Strategy: "l4", Status: report.Refuted, Text: "a scale-out changes nothing"}
	judged([]report.Claim{proven, refuted})
	judged([]report.Claim{proven})
	if got := out.String(); strings.Count(got, proven.Text) != 1 || strings.Contains(got, refuted.Text) {
		t.Errorf("printed %q, want the proven claim once", got)
	}
}
