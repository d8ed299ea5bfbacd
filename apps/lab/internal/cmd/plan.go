package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/thirdparty"
)

// stepOf reports steps.
func stepOf(r progress.Reporter) component.Step {
	return func(ctx context.Context, name string, limit time.Duration, f func(context.Context, func(string)) error) error {
		return progress.Run(ctx, r, name, limit, f)
	}
}

// imageTime is what building or loading images may take.
const imageTime = 30 * time.Minute

// clearTime is what removing Argo CD and what it made may take.
const clearTime = 2 * time.Minute

// plan is what a run builds and installs on a running cluster before it
// measures.
type plan struct {
	options runOptions
	builder component.Builder
	// strategies are those to measure, synced those that Argo CD deploys.
	strategies, synced []runner.Strategy
	// mesh says that Istio is part of it, gitops that Argo CD is.
	mesh, gitops bool
	// unavailable says of strategies why they cannot be run here, once that is
	// known.
	unavailable map[string]string
	// released are the images of this repository's programs, as base names them.
	released []types.Image
	// named holds, by strategy, the images that this repository does not release,
	// origins where they were had.
	named, origins map[string][]string
	thirdParty     thirdparty.Images
	purpose        runner.Purpose
	// registry is where a cluster that is not the lab's gets images from; nil means
	// that all of them are loaded onto the nodes.
	registry *image.Registry
	nodes    nodeArchitectures

	ours     bool              // the nodes have the images of this repository's programs
	loaded   bool              // the nodes have all images
	images   map[string]string // see runner.Config
	archives []string
	istio    *istio.Istio
	argocd   *argocd.ArgoCD
	versions map[string]string
	// judged is told the claims about each strategy as they are judged; it may be nil.
	judged func([]report.Claim)
}

func (c checkout) planOf(o runOptions, nodes nodeArchitectures, purpose runner.Purpose) (*plan, error) {
	b, err := c.builder(o.up.components)
	if err != nil {
		return nil, err
	}
	p := &plan{
		options: o, builder: b, purpose: purpose, gitops: o.deploy == argocd.Name,
		unavailable: map[string]string{}, named: map[string][]string{}, origins: map[string][]string{},
		thirdParty: thirdparty.Images{Builder: b, Cache: imageCache(b), Architectures: nodes.all},
		images:     map[string]string{}, versions: map[string]string{},
		registry: o.site.at, nodes: nodes,
	}
	p.builder.NodeArch = nodes.all[0]
	if p.released, err = release.Read(c.repository.Root()); err != nil {
		return nil, err
	}
	if p.strategies, err = strategy.Named(c.repository, o.only); err != nil {
		return nil, err
	}
	deployed := o.only
	if p.gitops { // whose root brings an Application for each overlay
		if deployed, err = c.repository.List(); err != nil {
			return nil, err
		}
		if p.synced, err = strategy.Named(c.repository, deployed); err != nil {
			return nil, err
		}
	}
	p.mesh = !o.noInstall && p.registry == nil && slices.ContainsFunc(p.strategies, func(s runner.Strategy) bool { return s.Sidecar != "" })
	if why := nodes.foreign(); why != "" {
		if p.gitops {
			return nil, fmt.Errorf("--deploy argocd: Argo CD's images %s", why)
		}
		for _, s := range p.strategies {
			if p.mesh && s.Sidecar != "" {
				p.unavailable[s.Name] = "Istio's images " + why + ", or with --no-install a cluster that has Istio"
			}
		}
		p.mesh = false
	}
	for _, name := range deployed {
		rendered, err := c.repository.Render(name)
		if err != nil {
			return nil, err
		}
		if p.named[name], err = thirdparty.Named(rendered, p.released); err != nil {
			return nil, err
		}
	}
	p.thirdParty.Given, err = p.thirdParty.Check(o.given, p.refs())
	if err == nil && p.registry != nil {
		p.leaveToNodes()
	}
	return p, err
}

// leaveToNodes leaves what the user does not give to a cluster that is not the
// lab's, and notes what that means.
func (p *plan) leaveToNodes() {
	for _, s := range p.strategies {
		p.named[s.Name] = slices.DeleteFunc(slices.Clone(p.named[s.Name]), func(ref string) bool {
			_, given := p.thirdParty.Given[ref]
			if !given {
				p.origins[s.Name] = append(p.origins[s.Name], ref+" is pulled by the nodes")
			}
			return !given
		})
	}
}

// refs returns the images that this repository does not release, sorted.
func (p *plan) refs() []string {
	all := slices.Concat(slices.Collect(maps.Values(p.named))...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *plan) components() []component.Component {
	all := append(slices.Clone(component.Images), p.thirdParty.Components(p.refs())...)
	if p.mesh {
		all = append(all, component.Mesh...)
	}
	if p.gitops {
		all = append(all, component.GitOps...)
	}
	return all
}

// runnable returns the strategies of the plan that this machine can run, and
// Argo CD where it is part of it.
func (p *plan) runnable() []string {
	var names []string
	if p.gitops {
		names = append(names, argocd.Name)
	}
	for _, s := range p.strategies {
		if s.NotRun == "" && p.unavailable[s.Name] == "" && (s.Sidecar == "" || p.mesh) {
			names = append(names, s.Name)
		}
	}
	return names
}

// again is the plan for another run on a cluster that has the images.
func (p *plan) again() *plan {
	next := *p
	next.loaded = true
	return &next
}

// steps counts the steps that measure reports: a build of each component, the
// images, their loading, what Istio and Argo CD need, what Argo CD does and a
// step for each strategy.
func (p *plan) steps() int {
	n := len(p.components()) + 2 + len(p.refs()) + len(p.options.only)
	if p.mesh {
		n += 2
	}
	if p.gitops {
		n += 2 + argocd.Steps
	}
	if p.gitops && p.mesh {
		n++
	}
	return n
}

// measure builds what is missing, puts the images onto the nodes and runs the
// experiments.
func (p *plan) measure(ctx context.Context, c checkout, on cluster.Cluster, disposable bool, r progress.Reporter) (result report.Result, err error) {
	if err := p.build(ctx, p.builder, on, r); err != nil {
		return result, err
	}
	config, err := on.RESTConfig()
	if err != nil {
		return result, err
	}
	client, err := kube.New(config)
	if err != nil {
		return result, err
	}
	if p.registry == nil {
		if err := p.clear(ctx, client); err != nil {
			return result, fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	dns := on.DNS(ctx)
	for _, s := range p.strategies {
		if dns.Assumed && strategy.TrailsDNS(s) {
			p.origins[s.Name] = append(p.origins[s.Name], fmt.Sprintf("the TTL and the cache of this cluster's DNS are not known, %s and %s are assumed", dns.TTL, dns.Cache))
		}
	}
	if p.nodes.assumed {
		for _, s := range p.strategies {
			p.origins[s.Name] = append(p.origins[s.Name], fmt.Sprintf("the nodes may not be listed, so their architecture is taken to be this machine's, %s", strings.Join(p.nodes.all, ", ")))
		}
	}
	measured := runner.Config{
		Suite: strategy.Suite(), Check: check.Objects,
		Cluster: on, Repository: c.repository, Strategies: p.strategies, Images: p.images,
		Unavailable: p.unavailable, Origins: p.origins, Istio: p.istio, Purpose: p.purpose,
		DNS: dns, Shared: p.registry != nil,
		Keep: p.options.keep, Disposable: disposable, Retries: p.options.retries, Progress: r, Judged: p.judged,
	}
	if measured.Shared {
		measured.StartTime, measured.Parallel = pullTime, atOnce
	}
	if !p.gitops {
		result, err = runner.Run(ctx, measured)
		maps.Copy(result.Versions, p.versions)
		return result, err
	}

	if !p.options.keep && !disposable {
		defer func() { err = errors.Join(err, p.clear(context.WithoutCancel(ctx), client)) }()
	}
	if p.istio != nil {
		remove, failed := p.installMesh(ctx, client, r)
		if failed != nil {
			return result, failed
		}
		if !p.options.keep && !disposable {
			defer func() { err = errors.Join(err, remove(context.WithoutCancel(ctx))) }()
		}
	}
	started := time.Now()
	deployer, claims, experiments, err := p.try(ctx, p.builder.Root, client, r)
	if err != nil && len(claims) == 0 {
		return result, err
	}
	if err != nil { // what was judged is worth reading
		for _, name := range p.options.only {
			measured.Unavailable[name] = "Argo CD did not let go of it"
		}
	}
	measured.Deployer = deployer
	failed := err
	result, err = runner.Run(ctx, measured)
	err = errors.Join(failed, err)
	if err == nil && p.options.keep {
		err = deployer.Restore(ctx)
	}
	result.Started = started
	result.Claims, result.Experiments = append(result.Claims, claims...), append(experiments, result.Experiments...)
	maps.Copy(result.Versions, p.versions)
	return result, err
}

// installMesh puts Istio onto a cluster that lacks it, before Argo CD syncs what
// needs it, and returns what removes it again.
func (p *plan) installMesh(ctx context.Context, client *kube.Client, r progress.Reporter) (remove func(context.Context) error, err error) {
	remove = func(context.Context) error { return nil }
	there, err := istio.Installed(ctx, client)
	if err != nil || there {
		return remove, err
	}
	what, err := p.istio.Describe()
	if err != nil {
		return remove, err
	}
	for _, s := range p.strategies {
		if s.Sidecar != "" {
			p.origins[s.Name] = append(p.origins[s.Name], what)
		}
	}
	remove = func(ctx context.Context) error { return p.istio.Remove(ctx, client) }
	return remove, progress.Run(ctx, r, "install Istio", imageTime, func(ctx context.Context, _ func(string)) error {
		return p.istio.Install(ctx, client)
	})
}

// try lets Argo CD deploy everything and judges what it does.
func (p *plan) try(ctx context.Context, root string, client *kube.Client, r progress.Reporter) (*argocd.Deployer, []report.Claim, []report.Experiment, error) {
	dir, err := os.MkdirTemp("", "grpc-lb-git-")
	if err != nil {
		return nil, nil, nil, err
	}
	defer os.RemoveAll(dir)
	unable := map[string]string{}
	for _, s := range p.synced {
		why := cmp.Or(s.NotRun, p.unavailable[s.Name])
		if s.ClientsOnly && p.istio == nil {
			why = s.LacksSidecar
		}
		// Without sidecars all pods of istio run, as l4's do.
		if why != "" && (s.Sidecar == "" || s.ClientsOnly) {
			unable[s.Name] = why
		}
	}
	return p.argocd.Try(ctx, argocd.Config{Kube: client, Root: root, Dir: dir, Images: p.images, Unable: unable, Retries: p.options.retries}, r)
}

func (p *plan) clear(ctx context.Context, client *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clearTime, fmt.Errorf("not in %s", clearTime))
	defer cancel()
	return argocd.Clear(ctx, client)
}

// build makes the programs and images that are missing and puts the images onto
// the nodes.
func (p *plan) build(ctx context.Context, b component.Builder, on cluster.Cluster, r progress.Reporter) error {
	if p.loaded {
		return nil
	}
	step := stepOf(r)
	if !p.ours {
		if err := p.buildImages(ctx, b, step); err != nil {
			return err
		}
	}
	if err := p.getThirdParty(ctx, b, step); err != nil {
		return err
	}
	if p.mesh {
		if err := p.buildMesh(ctx, b, step); err != nil {
			if ctx.Err() != nil {
				return err
			}
			for _, s := range p.strategies {
				if s.Sidecar != "" {
					p.unavailable[s.Name] = err.Error()
				}
			}
		}
	}
	if p.gitops {
		if err := p.buildGitOps(ctx, b, step); err != nil {
			return err
		}
	}
	if err := p.rename(); err != nil {
		return err
	}
	err := step(ctx, "load the images", imageTime, func(ctx context.Context, _ func(string)) error {
		return on.LoadImages(ctx, p.archives...)
	})
	if err != nil && p.registry != nil && ctx.Err() == nil {
		return exitError{exitNoCluster, err} // what its nodes cannot run cannot be measured
	}
	return err
}

// buildImages builds the images of this repository's programs.
func (p *plan) buildImages(ctx context.Context, b component.Builder, step component.Step) error {
	programs, _, err := b.BuildAll(ctx, component.Images, step)
	if err != nil {
		return err
	}
	return step(ctx, "build the images", imageTime, func(ctx context.Context, detail func(string)) error {
		for _, arch := range p.nodes.all {
			built, err := image.Build(ctx, image.Config{
				Root: b.Root, Ko: filepath.Join(programs[component.Ko.Name], "ko"), Cache: imageCache(b), Arch: arch, Detail: detail,
			})
			for _, i := range built {
				for _, r := range p.released {
					if r.Name == i.Name {
						p.images[r.NewName] = i.Ref
					}
				}
				p.archives = append(p.archives, i.Archive)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// rename lets the manifests name images as the registry does.
func (p *plan) rename() error {
	if p.registry == nil {
		return nil
	}
	for _, ref := range p.refs() {
		name, _, _ := manifest.SplitReference(ref)
		p.images[name] = ref
	}
	for name, ref := range p.images {
		renamed, err := p.registry.Ref(ref)
		if err != nil {
			return err
		}
		p.images[name] = renamed
	}
	return nil
}

func imageCache(b component.Builder) string { return filepath.Join(b.Cache, "images") }

// need installs from Debian what is missing.
func need(ctx context.Context, step component.Step, of string, programs map[string]string) error {
	return step(ctx, "check the programs that "+of+" needs", imageTime, func(ctx context.Context, detail func(string)) error {
		return debian.Install(ctx, programs, detail)
	})
}

// getThirdParty gets the images that this repository does not release. What
// cannot be had keeps the strategies that name it from running, and no other.
func (p *plan) getThirdParty(ctx context.Context, b component.Builder, step component.Step) error {
	if _, versions, err := b.BuildAll(ctx, p.thirdParty.Components(p.refs()), step); err == nil {
		maps.Copy(p.versions, versions)
	} else if ctx.Err() != nil {
		return err
	} // else the image cannot be packed, which Get says
	for _, ref := range p.refs() {
		var found thirdparty.Found
		var lacks error
		if err := step(ctx, "get the image "+ref, imageTime, func(ctx context.Context, detail func(string)) error {
			found, lacks = p.thirdParty.Get(ctx, ref, detail)
			return lacks
		}); ctx.Err() != nil {
			return err
		}
		for name, refs := range p.named {
			switch {
			case !slices.Contains(refs, ref):
			case lacks != nil:
				p.unavailable[name] = fmt.Sprintf("image %s cannot be had: %v", ref, lacks)
			default:
				p.origins[name] = append(p.origins[name], found.Origin)
			}
		}
		if lacks == nil {
			p.archives = append(p.archives, found.Archives...)
		}
	}
	return nil
}

// buildMesh builds Istio and Envoy and packs their images.
func (p *plan) buildMesh(ctx context.Context, b component.Builder, step component.Step) error {
	if err := need(ctx, step, "Istio", istio.Needs); err != nil {
		return err
	}
	programs, versions, err := b.BuildAll(ctx, component.Mesh, step)
	if err != nil {
		return err
	}
	built := &istio.Istio{Programs: programs, Versions: versions}
	if err := p.pack(ctx, b, step, "Istio", built.Archive); err != nil {
		return err
	}
	p.istio = built
	maps.Copy(p.versions, versions)
	return nil
}

// buildGitOps builds Argo CD and packs its images.
func (p *plan) buildGitOps(ctx context.Context, b component.Builder, step component.Step) error {
	if err := need(ctx, step, "Argo CD", argocd.Needs); err != nil {
		return err
	}
	programs, versions, err := b.BuildAll(ctx, component.GitOps, step)
	if err != nil {
		return err
	}
	p.argocd = &argocd.ArgoCD{Programs: programs, Versions: versions}
	maps.Copy(p.versions, versions)
	return p.pack(ctx, b, step, "Argo CD", p.argocd.Archive)
}

// pack packs the images of what was built, unless the cache has them.
func (p *plan) pack(ctx context.Context, b component.Builder, step component.Step, of string, archive func(context.Context, string) (string, error)) error {
	return step(ctx, "pack the images of "+of, imageTime, func(ctx context.Context, _ func(string)) error {
		packed, err := archive(ctx, imageCache(b))
		if err == nil {
			p.archives = append(p.archives, packed)
		}
		return err
	})
}
