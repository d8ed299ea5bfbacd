package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/gatewayapi"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/kuberouter"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/metricsserver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/thirdparty"
)

// imageTime is what building or loading images may take.
const imageTime = 30 * time.Minute

// ErrNodes says that the nodes of a cluster that is not the lab's cannot get the
// images, so that nothing can be measured there.
var ErrNodes = errors.New("the nodes cannot get the images")

// Supplies is what a plan built, and the nodes have.
type Supplies struct {
	remarks
	// images replaces images of the rendering, see runner.Render.
	images   map[string]string
	istio    *istio.Istio
	argocd   *argocd.ArgoCD
	gateways *gatewayapi.GatewayAPI
	metrics  runner.Addon
	policies runner.Addon
	versions map[string]string
}

// supplier builds what a plan needs.
type supplier struct {
	*Plan
	*Supplies
	step     component.Step
	archives []string // to be loaded onto the nodes
}

// StepOf reports the steps of a builder.
func StepOf(r progress.Reporter) component.Step {
	return func(ctx context.Context, name string, limit time.Duration, f func(context.Context, func(string)) error) error {
		return progress.Run(ctx, r, name, limit, f)
	}
}

// Supply builds the programs and images that are missing and puts the images onto
// the nodes. Had are the supplies of another plan for the same cluster, whose images
// of this repository's programs are taken over; it may be nil. An error wraps
// ErrNodes where the cluster is at fault.
func (p *Plan) Supply(ctx context.Context, on cluster.Cluster, had *Supplies, r progress.Reporter) (*Supplies, error) {
	s := supplier{Plan: p, Supplies: &Supplies{remarks: p.remarks.clone(), images: map[string]string{}, versions: map[string]string{}}, step: StepOf(r)}
	if had == nil {
		if err := s.ours(ctx); err != nil {
			return nil, err
		}
	} else {
		s.images, s.versions = maps.Clone(had.images), maps.Clone(had.versions)
	}
	for _, get := range []func(context.Context) error{s.getThirdParty, s.getMesh, s.getGateways, s.getGitOps, s.getMetrics, s.getPolicies} {
		if err := get(ctx); err != nil {
			return nil, err
		}
	}
	if had == nil {
		if err := s.rename(); err != nil {
			return nil, err
		}
	}
	err := s.step(ctx, "load the images", imageTime, func(ctx context.Context, _ func(string)) error {
		return on.LoadImages(ctx, s.archives...)
	})
	if err != nil && p.Registry != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", ErrNodes, err)
	}
	return s.Supplies, err
}

// ours builds the images of this repository's programs.
func (s *supplier) ours(ctx context.Context) error {
	programs, _, err := s.builder.BuildAll(ctx, component.Images, s.step)
	if err != nil {
		return err
	}
	return s.step(ctx, "build the images", imageTime, func(ctx context.Context, detail func(string)) error {
		for _, arch := range s.Nodes.Architectures {
			built, err := image.Build(ctx, image.Config{
				Root: s.builder.Root, Ko: filepath.Join(programs[component.Ko.Name], "ko"), Cache: imageCache(s.builder), Arch: arch, Detail: detail,
			})
			for _, i := range built {
				for _, r := range s.released {
					if r.Name == i.Name {
						s.images[r.NewName] = i.Ref
					}
				}
				s.archives = append(s.archives, i.Archive)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// rename lets the manifests name images as the registry does.
func (s *supplier) rename() error {
	if s.Registry == nil {
		return nil
	}
	for _, ref := range s.refs() {
		name, _, _ := manifest.SplitReference(ref)
		s.images[name] = ref
	}
	for name, ref := range s.images {
		renamed, err := s.Registry.Ref(ref)
		if err != nil {
			return err
		}
		s.images[name] = renamed
	}
	return nil
}

// getThirdParty gets the images that this repository does not release. What
// cannot be had keeps the strategies that name it from running, and no other.
func (s *supplier) getThirdParty(ctx context.Context) error {
	if _, versions, err := s.builder.BuildAll(ctx, s.thirdParty.Components(s.refs()), s.step); err == nil {
		maps.Copy(s.versions, versions)
	} else if ctx.Err() != nil {
		return err
	} // else the image cannot be packed, which Get says
	for _, ref := range s.refs() {
		var found thirdparty.Found
		var lacks error
		if err := s.step(ctx, "get the image "+ref, imageTime, func(ctx context.Context, detail func(string)) error {
			found, lacks = s.thirdParty.Get(ctx, ref, detail)
			return lacks
		}); ctx.Err() != nil {
			return err
		}
		for name, refs := range s.named {
			switch {
			case !slices.Contains(refs, ref):
			case lacks != nil:
				s.unavailable[name] = fmt.Sprintf("image %s cannot be had: %v", ref, lacks)
			default:
				s.origins[name] = append(s.origins[name], found.Origin)
			}
		}
		if lacks == nil {
			s.archives = append(s.archives, found.Archives...)
		}
	}
	return nil
}

// getMesh builds Istio and Envoy and packs their images. Without them the strategies
// that need Istio are not run.
func (s *supplier) getMesh(ctx context.Context) error {
	if !s.mesh {
		return nil
	}
	err := func() error {
		programs, versions, err := s.buildFor(ctx, "Istio", istio.Needs, component.Mesh)
		if err != nil {
			return err
		}
		built := &istio.Istio{Programs: programs, Versions: versions}
		if err := s.pack(ctx, "Istio", built.Archive); err != nil {
			return err
		}
		s.istio = built
		return nil
	}()
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, st := range s.strategies {
		if st.NeedsMesh() {
			s.unavailable[st.Name] = err.Error()
		}
	}
	return nil
}

// getGateways gets the definitions of the Gateway API. Without them the strategies that
// have objects of it are not run.
func (s *supplier) getGateways(ctx context.Context) error {
	if !s.Plan.gateways {
		return nil
	}
	programs, versions, err := s.builder.BuildAll(ctx, component.Gateways, s.step)
	if err == nil {
		maps.Copy(s.versions, versions)
		name := component.GatewayAPI.Name
		s.Supplies.gateways = &gatewayapi.GatewayAPI{Dir: programs[name], Version: versions[name]}
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	for _, st := range s.strategies {
		if s.hasGateways(st) {
			s.unavailable[st.Name] = err.Error()
		}
	}
	return nil
}

// getGitOps builds Argo CD and packs its images.
func (s *supplier) getGitOps(ctx context.Context) error {
	if !s.GitOps {
		return nil
	}
	programs, versions, err := s.buildFor(ctx, "Argo CD", argocd.Needs, component.GitOps)
	if err != nil {
		return err
	}
	s.argocd = &argocd.ArgoCD{Programs: programs, Versions: versions}
	return s.pack(ctx, "Argo CD", s.argocd.Archive)
}

// getMetrics builds metrics-server and packs its image. Without it the strategies
// whose experiments read what it serves are not run.
func (s *supplier) getMetrics(ctx context.Context) error {
	if !s.Plan.metrics {
		return nil
	}
	programs, versions, err := s.builder.BuildAll(ctx, component.Metrics, s.step)
	if err == nil {
		maps.Copy(s.versions, versions)
		name := component.MetricsServer.Name
		built := &metricsserver.MetricsServer{Dir: programs[name], Version: versions[name], Arch: s.builder.NodeArch}
		if err = s.pack(ctx, "metrics-server", built.Archive); err == nil {
			s.Supplies.metrics = built
		}
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, st := range s.strategies {
		if s.readsMetrics(st) {
			s.unavailable[st.Name] = err.Error()
		}
	}
	return nil
}

// getPolicies builds kube-router and packs its image. Without it the strategies whose
// experiments need NetworkPolicies enforced are not run.
func (s *supplier) getPolicies(ctx context.Context) error {
	if !s.Plan.policies {
		return nil
	}
	programs, versions, err := s.buildFor(ctx, "kube-router", kuberouter.Needs, component.Policy)
	if err == nil {
		name := component.KubeRouter.Name
		built := &kuberouter.KubeRouter{Program: filepath.Join(programs[name], name), Version: versions[name]}
		if err = s.pack(ctx, "kube-router", built.Archive); err == nil {
			s.Supplies.policies = built
		}
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, st := range s.strategies {
		if st.NeedsPolicies(s.Purpose) {
			s.unavailable[st.Name] = err.Error()
		}
	}
	return nil
}

// buildFor installs the Debian packages that something needs, and builds its components.
func (s *supplier) buildFor(ctx context.Context, what string, needs map[string]string, components []component.Component) (programs, versions map[string]string, err error) {
	err = s.step(ctx, "install the Debian packages that "+what+" needs", imageTime, func(ctx context.Context, detail func(string)) error {
		return debian.Install(ctx, needs, detail)
	})
	if err != nil {
		return nil, nil, err
	}
	if programs, versions, err = s.builder.BuildAll(ctx, components, s.step); err == nil {
		maps.Copy(s.versions, versions)
	}
	return programs, versions, err
}

// pack packs the images of what was built, unless the cache has them.
func (s *supplier) pack(ctx context.Context, what string, archive func(context.Context, string) (string, error)) error {
	return s.step(ctx, "pack the images of "+what, imageTime, func(ctx context.Context, _ func(string)) error {
		packed, err := archive(ctx, imageCache(s.builder))
		if err == nil {
			s.archives = append(s.archives, packed)
		}
		return err
	})
}
