package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/builtin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// imageTime is what building or loading images may take.
const imageTime = 30 * time.Minute

// plan is what a run builds and installs on a running cluster before it
// measures.
type plan struct {
	options runOptions
	// mesh says that Istio is part of it.
	mesh bool
	// unavailable says of strategies why they cannot be run here, once that is
	// known.
	unavailable map[string]string

	images   map[string]string // see experiment.Config
	archives []string
	istio    *istio.Istio
	versions map[string]string
}

func planOf(o runOptions) *plan {
	p := &plan{options: o, unavailable: map[string]string{}, images: map[string]string{}, versions: map[string]string{}}
	p.mesh = !o.noInstall && slices.ContainsFunc(experiment.Strategies, func(s experiment.Strategy) bool {
		return s.Sidecar != "" && slices.Contains(o.only, s.Name)
	})
	return p
}

func (p *plan) components() []component.Component {
	if p.mesh {
		return slices.Concat(component.Images, component.Mesh)
	}
	return component.Images
}

// steps counts the steps that measure reports: a build of each component, the
// images, their loading, and a step for each strategy.
func (p *plan) steps() int { return len(p.components()) + 2 + len(p.options.only) }

// measure builds what is missing, puts the images onto the nodes and runs the
// experiments.
func (p *plan) measure(ctx context.Context, c checkout, on *builtin.Cluster, disposable bool, r progress.Reporter) (report.Result, error) {
	step := func(ctx context.Context, name string, limit time.Duration, f func(context.Context, func(string)) error) error {
		return progress.Run(ctx, r, name, limit, f)
	}
	b := component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}
	if err := p.buildImages(ctx, b, step); err != nil {
		return report.Result{}, err
	}
	if p.mesh {
		if err := p.buildMesh(ctx, b, step); err != nil {
			if ctx.Err() != nil {
				return report.Result{}, err
			}
			for _, s := range experiment.Strategies {
				if s.Sidecar != "" {
					p.unavailable[s.Name] = err.Error()
				}
			}
		}
	}
	if err := step(ctx, "load the images", imageTime, func(ctx context.Context, _ func(string)) error {
		return on.LoadImages(ctx, p.archives...)
	}); err != nil {
		return report.Result{}, err
	}
	result, err := experiment.Run(ctx, experiment.Config{
		Cluster: on, Repository: c.repository, Overlays: p.options.only, Images: p.images,
		Unavailable: p.unavailable, Istio: p.istio,
		DNS:  experiment.DNS{TTL: builtin.DNSTTL * time.Second, Cache: builtin.DNSCache * time.Second},
		Keep: p.options.keep, Disposable: disposable, Progress: r,
	})
	maps.Copy(result.Versions, p.versions)
	return result, err
}

// buildImages builds the images of this repository's programs.
func (p *plan) buildImages(ctx context.Context, b component.Builder, step component.Step) error {
	programs, _, err := b.BuildAll(ctx, component.Images, step)
	if err != nil {
		return err
	}
	return step(ctx, "build the images", imageTime, func(ctx context.Context, detail func(string)) error {
		built, err := image.Build(ctx, image.Config{
			Root: b.Root, Ko: filepath.Join(programs[component.Ko.Name], "ko"), Cache: imageCache(b), Detail: detail,
		})
		for _, i := range built {
			p.images["ghcr.io/grpc-lb/"+i.Name] = i.Ref
			p.archives = append(p.archives, i.Archive)
		}
		return err
	})
}

func imageCache(b component.Builder) string { return filepath.Join(b.Cache, "images") }

// buildMesh builds Istio and Envoy and packs their images.
func (p *plan) buildMesh(ctx context.Context, b component.Builder, step component.Step) error {
	if err := debian.Install(ctx, istio.Needs, func(string) {}); err != nil {
		return err
	}
	programs, versions, err := b.BuildAll(ctx, component.Mesh, step)
	if err != nil {
		return err
	}
	built := &istio.Istio{Programs: programs, Versions: versions}
	archive, err := built.Archive(ctx, imageCache(b))
	if err != nil {
		return fmt.Errorf("packing Istio's images: %w", err)
	}
	p.istio, p.archives = built, append(p.archives, archive)
	maps.Copy(p.versions, versions)
	return nil
}
