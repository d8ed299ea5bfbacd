package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
)

// fakeProvider makes clusters of nothing but a name.
type fakeProvider struct {
	name              string
	unable, failsWith error
	running           bool
	left              []string
	downs             int
}

func (f *fakeProvider) Kind() provider.Kind                          { return provider.Kind{Name: f.name} }
func (f *fakeProvider) Check(context.Context) error                  { return f.unable }
func (f *fakeProvider) Architecture(context.Context) (string, error) { return "arm64", nil }

func (f *fakeProvider) Find(context.Context) (cluster.Cluster, error) {
	if !f.running {
		return nil, nil
	}
	return fakeCluster{kind: f.name}, nil
}

func (f *fakeProvider) Components() []component.Component { return nil }

func (f *fakeProvider) Steps(provider.Options) int { return 1 }

func (f *fakeProvider) Up(context.Context, provider.Options) (cluster.Cluster, error) {
	if f.failsWith != nil {
		return nil, f.failsWith
	}
	f.running = true
	return fakeCluster{kind: f.name}, nil
}

func (f *fakeProvider) Down(context.Context) error {
	f.running = false
	f.downs++
	return nil
}

func (f *fakeProvider) Elsewhere() string { return "" }

func (f *fakeProvider) Left(context.Context) ([]string, error) { return f.left, nil }

type fakeCluster struct {
	cluster.Cluster
	kind string
}

func (f fakeCluster) Kind() string { return f.kind }

func (f fakeCluster) Architectures(context.Context) ([]string, bool) { return []string{"arm64"}, true }

// The cluster that a command takes: the one that is up, else one of the kind that
// was asked for, else of the first kind that this machine can have. Where an image
// of a kind node cannot be had the next kind is taken, unless one was named.
func TestOwnSite(t *testing.T) {
	noImage := fmt.Errorf("%w: pulling kindest/node: no route to host", provider.ErrNoImage)
	for _, test := range []struct {
		name          string
		kind, builtin fakeProvider
		asked         string
		want          string // the kind that is up afterwards
		wantErr       []string
	}{
		{name: "docker_answers", want: "kind"},
		{name: "no_docker", kind: fakeProvider{unable: errors.New("no Docker daemon answers")}, want: "builtin"},
		{name: "builtin_asked_for", asked: "builtin", want: "builtin"},
		{name: "kind_asked_for_without_docker", kind: fakeProvider{unable: errors.New("no Docker daemon answers: start Docker")}, asked: "kind", wantErr: []string{"--cluster kind: not run: no Docker", "start Docker"}},
		{name: "neither", kind: fakeProvider{unable: errors.New("start Docker")}, builtin: fakeProvider{unable: errors.New("it needs Linux")}, wantErr: []string{"start Docker", "it needs Linux"}},
		{name: "image_cannot_be_pulled", kind: fakeProvider{failsWith: noImage}, want: "builtin"},
		{name: "image_cannot_be_pulled_for_the_kind_asked_for", kind: fakeProvider{failsWith: noImage}, asked: "kind", wantErr: []string{"no route to host", "--node-image", "--cluster builtin"}},
		{name: "image_cannot_be_pulled_and_no_other", kind: fakeProvider{failsWith: noImage}, builtin: fakeProvider{unable: errors.New("not root")}, wantErr: []string{"no route to host", "--cluster builtin"}},
		{name: "creation_fails", kind: fakeProvider{failsWith: errors.New("kubeadm failed")}, wantErr: []string{"kubeadm failed"}},
		{name: "one_is_up", builtin: fakeProvider{running: true}, want: "builtin"},
		{name: "another_is_up", builtin: fakeProvider{running: true}, asked: "kind", wantErr: []string{"builtin cluster is up", "`lab down`"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.kind.name, test.builtin.name = "kind", "builtin"
			was := test.builtin.running
			c := emptyCheckout(t)
			c.clusters = provider.Set{&test.kind, &test.builtin}
			on, err := c.ownTarget(t.Context(), upOptions{cluster: test.asked, nodes: 2}, false)
			var up cluster.Cluster
			if err == nil {
				up, err = on.Up(t.Context(), progress.NewPrinter(t.Output(), 1, 0), nil)
			}
			if test.wantErr != nil {
				if err == nil {
					t.Fatalf("a %s cluster, want an error", up.Kind())
				}
				for _, want := range test.wantErr {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q, want %q in it", err, want)
					}
				}
				return
			}
			if err != nil || up.Kind() != test.want {
				t.Fatalf("up = %v, %v, want %s", up, err, test.want)
			}
			if was == on.Boots {
				t.Fatalf("Boots is %t, want it where no cluster was up", on.Boots)
			}
			if err := on.Down(t.Context()); err != nil || test.kind.running || test.builtin.running != was {
				t.Errorf("Down = %v, kind runs: %t, builtin runs: %t; want %t for one that was up", err, test.kind.running, test.builtin.running, was)
			}
		})
	}
}

// A command that needs a cluster finds one of any kind, and names what is left of
// one that is not up.
func TestRunning(t *testing.T) {
	kind, builtin := &fakeProvider{name: "kind", running: true}, &fakeProvider{name: "builtin"}
	c := checkout{clusters: provider.Set{kind, builtin}}
	if on, err := c.running(t.Context()); err != nil || on.Kind() != "kind" {
		t.Errorf("running = %v, %v, want kind's", on, err)
	}
	kind.running, kind.left = false, []string{"container a-control-plane"}
	if _, err := c.running(t.Context()); err == nil || !strings.Contains(err.Error(), "a-control-plane") || !strings.Contains(err.Error(), "`lab down`") {
		t.Errorf("running = %v, want what is left and the remedy", err)
	}
	kind.left = nil
	if _, err := c.running(t.Context()); err == nil || !strings.Contains(err.Error(), "`lab up`") {
		t.Errorf("running = %v, want the remedy", err)
	}
	if err := c.clusters.Down(t.Context()); err != nil || kind.downs != 1 || builtin.downs != 1 {
		t.Errorf("Down = %v, of kind %d times, of builtin %d, want each once", err, kind.downs, builtin.downs)
	}
}

// Flags that contradict each other are told before anything is done.
func TestUpOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		give upOptions
		kind string
		want string
	}{
		{name: "defaults", give: upOptions{}},
		{name: "image_means_kind", give: upOptions{nodeImage: "a"}, kind: "kind"},
		{name: "image_of_the_builtin", give: upOptions{nodeImage: "a", cluster: "builtin"}, want: "--node-image a"},
		{name: "unknown", give: upOptions{cluster: "minikube"}, want: `"minikube": expected ` + strings.Join(registry.All(dirs.Dirs{}, "").Names(), " or ")},
		{name: "port", give: upOptions{apiPort: 70000}, want: "--api-port 70000: expected 1 to 65535"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.give.check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("check = %v, want %q", err, test.want)
			}
			if err == nil && test.give.cluster != test.kind {
				t.Errorf("cluster %q, want %q", test.give.cluster, test.kind)
			}
		})
	}
}

// emptyCheckout is this repository with an empty cache.
func emptyCheckout(t *testing.T) checkout {
	t.Helper()
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	return newCheckout(repository, dirs.New(t.TempDir(), repository.Root()))
}

// A registry of components that is none is named with its flag.
func TestBuilder_Components(t *testing.T) {
	if _, err := emptyCheckout(t).builder("nowhere"); err == nil || !strings.Contains(err.Error(), `--components: image: registry "nowhere"`) {
		t.Errorf("error %v, want one that names --components", err)
	}
}
