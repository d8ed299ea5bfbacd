package plan

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/thirdparty"
)

// Options say what is measured.
type Options struct {
	// Overlays are those to measure.
	Overlays []string
	Purpose  runner.Purpose
	// Experiments are those that are made instead of the usual ones.
	Experiments []string
	// Given are images that the user has as files.
	Given []image.Given
	// NoInstall installs nothing beside the overlays.
	NoInstall bool
	// GitOps lets Argo CD deploy the overlays, and judges that too.
	GitOps bool
	// Keep leaves the namespaces as they are.
	Keep bool
	// Retries is how often a strategy is measured once more.
	Retries int
}

// Target is what a plan must know of the cluster.
type Target struct {
	Nodes Nodes
	// Registry is where the nodes of a cluster that is not the lab's get images from;
	// nil says that the cluster is the lab's, and its images are loaded onto the nodes.
	Registry *image.Registry
}

// Nodes are the architectures for which images are made.
type Nodes struct {
	// Architectures are as Go names them, such as arm64.
	Architectures []string
	// Assumed says that the cluster did not tell them.
	Assumed bool
}

// foreign says why images with this machine's libraries do not run on the nodes; it
// is empty where they do.
func (n Nodes) foreign() string {
	if runtime.GOOS == "linux" && slices.Equal(n.Architectures, []string{runtime.GOARCH}) {
		return ""
	}
	return fmt.Sprintf("are packed with this machine's libraries, which are of %s/%s, and the nodes are linux/%s: it needs a Linux machine like them",
		runtime.GOOS, runtime.GOARCH, strings.Join(n.Architectures, " and linux/"))
}

// Plan is what a run builds, installs and measures.
type Plan struct {
	Options
	Target
	repository *manifest.Repository
	builder    component.Builder
	// strategies are those to measure, synced those that Argo CD deploys.
	strategies, synced []runner.Strategy
	// oneByOne says that the strategies are measured one after the other.
	oneByOne bool
	// mesh says that Istio is part of it.
	mesh bool
	// gateways says that the definitions of the Gateway API are, metrics that
	// metrics-server is, and policies that kube-router is.
	gateways, metrics, policies bool
	// released are the images of this repository's programs, as base names them.
	released []types.Image
	// named holds, by strategy, the images that this repository does not release.
	named      map[string][]string
	thirdParty thirdparty.Images
	remarks    remarks
}

// remarks is what is known of strategies beside what is measured.
type remarks struct {
	// unavailable says why a strategy cannot be run here.
	unavailable map[string]string
	// origins says where a strategy got what this lab did not build.
	origins map[string][]string
}

func (r remarks) clone() remarks {
	next := remarks{maps.Clone(r.unavailable), map[string][]string{}}
	for name, all := range r.origins {
		next.origins[name] = slices.Clone(all)
	}
	return next
}

// New plans. It renders every overlay, builds nothing and asks no cluster.
func New(repository *manifest.Repository, b component.Builder, o Options, t Target) (*Plan, error) {
	b.NodeArch = t.Nodes.Architectures[0]
	p := &Plan{
		Options: o, Target: t, repository: repository, builder: b, named: map[string][]string{},
		thirdParty: thirdparty.Images{Builder: b, Cache: imageCache(b), Architectures: t.Nodes.Architectures},
		remarks:    remarks{map[string]string{}, map[string][]string{}},
	}
	var err error
	if p.released, err = release.Read(repository.Root()); err != nil {
		return nil, err
	}
	if p.strategies, err = strategy.Named(repository, o.Overlays); err != nil {
		return nil, err
	}
	if len(o.Experiments) > 0 {
		if p.strategies, p.oneByOne, err = strategy.Asking(p.strategies, o.Experiments); err != nil {
			return nil, err
		}
	}
	deployed := o.Overlays
	if o.GitOps { // whose root brings an Application for each overlay
		if deployed, err = repository.List(); err != nil {
			return nil, err
		}
		if p.synced, err = strategy.Named(repository, deployed); err != nil {
			return nil, err
		}
	}
	if err := p.planMesh(); err != nil {
		return nil, err
	}
	if installs := !p.NoInstall && p.Registry == nil; installs {
		// Argo CD can sync no overlay whose kinds are not defined.
		p.gateways = p.GitOps || slices.ContainsFunc(p.strategies, p.hasGateways)
		p.metrics = slices.ContainsFunc(p.strategies, p.readsMetrics)
		p.policies = p.Nodes.foreign() == "" && slices.ContainsFunc(p.strategies, func(s runner.Strategy) bool { return s.NeedsPolicies(p.Purpose) })
	}
	for _, name := range deployed {
		rendered, err := repository.Render(name)
		if err != nil {
			return nil, err
		}
		if p.named[name], err = thirdparty.Named(rendered, p.released); err != nil {
			return nil, err
		}
	}
	if p.thirdParty.Given, err = p.thirdParty.Check(o.Given, p.refs()); err != nil {
		return nil, err
	}
	if p.Registry != nil {
		p.leaveToNodes()
	}
	return p, nil
}

// planMesh decides whether Istio is built and installed, and refuses Argo CD where
// the nodes cannot run its images.
func (p *Plan) planMesh() error {
	p.mesh = !p.NoInstall && p.Registry == nil && slices.ContainsFunc(p.strategies, runner.Strategy.NeedsMesh)
	why := p.Nodes.foreign()
	if why == "" {
		return nil
	}
	if p.GitOps {
		return fmt.Errorf("--deploy argocd: Argo CD's images %s", why)
	}
	for _, s := range p.strategies {
		if p.mesh && s.NeedsMesh() {
			p.remarks.unavailable[s.Name] = "Istio's images " + why + ", or with --no-install a cluster that has Istio"
		}
	}
	p.mesh = false
	return nil
}

// hasGateways tells whether what is made with a strategy has objects of the Gateway API.
func (p *Plan) hasGateways(s runner.Strategy) bool { return s.NeedsGatewayAPI(p.Purpose) }

// readsMetrics tells whether what is made with a strategy reads metrics.k8s.io.
func (p *Plan) readsMetrics(s runner.Strategy) bool { return s.NeedsMetrics(p.Purpose) }

// leaveToNodes leaves what the user does not give to a cluster that is not the
// lab's, and notes what that means.
func (p *Plan) leaveToNodes() {
	for _, s := range p.strategies {
		p.named[s.Name] = slices.DeleteFunc(slices.Clone(p.named[s.Name]), func(ref string) bool {
			_, given := p.thirdParty.Given[ref]
			if !given {
				p.remarks.origins[s.Name] = append(p.remarks.origins[s.Name], ref+" is pulled by the nodes")
			}
			return !given
		})
	}
}

// refs returns the images that this repository does not release, sorted.
func (p *Plan) refs() []string {
	all := slices.Concat(slices.Collect(maps.Values(p.named))...)
	slices.Sort(all)
	return slices.Compact(all)
}

func imageCache(b component.Builder) string { return filepath.Join(b.Cache, "images") }

// Components lists what the plan builds.
func (p *Plan) Components() []component.Component {
	all := append(slices.Clone(component.Images), p.thirdParty.Components(p.refs())...)
	if p.mesh {
		all = append(all, component.Mesh...)
	}
	if p.gateways {
		all = append(all, component.Gateways...)
	}
	if p.GitOps {
		all = append(all, component.GitOps...)
	}
	if p.metrics {
		all = append(all, component.Metrics...)
	}
	if p.policies {
		all = append(all, component.Policy...)
	}
	return all
}

// runnable returns the strategies of the plan that this machine can run, as far as the
// plan and what was supplied for its parts tell, and Argo CD where it is part of it.
func (p *Plan) runnable(supplied ...*Supplies) []string {
	lacks := func(name string) bool {
		return p.remarks.unavailable[name] != "" ||
			slices.ContainsFunc(supplied, func(s *Supplies) bool { return s != nil && s.unavailable[name] != "" })
	}
	var names []string
	if p.GitOps {
		names = append(names, argocd.Name)
	}
	for _, s := range p.strategies {
		if s.NotRun == "" && !lacks(s.Name) && (!s.NeedsMesh() || p.mesh) {
			names = append(names, s.Name)
		}
	}
	return names
}

// Provided names the strategies whose images the lab builds, packs or was given, and
// Argo CD if it is part of the plan: they must run on every machine. The others need
// an image that somebody else publishes.
func (p *Plan) Provided() []string {
	var names []string
	if p.GitOps {
		names = append(names, argocd.Name)
	}
	for _, s := range p.strategies {
		if s.NotRun == "" && !slices.ContainsFunc(p.named[s.Name], p.mustPull) {
			names = append(names, s.Name)
		}
	}
	return names
}

// mustPull tells whether only a registry of others has the image.
func (p *Plan) mustPull(ref string) bool {
	_, given := p.thirdParty.Given[ref]
	return !given && len(p.thirdParty.Components([]string{ref})) == 0
}

// Steps counts the steps that Supply and Measure report: a build of each component,
// the images, their loading, what Istio and Argo CD need, what Argo CD does and a
// step for each strategy.
func (p *Plan) Steps() int {
	n := len(p.Components()) + 2 + len(p.refs()) + len(p.Overlays)
	if p.mesh {
		n += 2
	}
	if p.GitOps {
		n += 2 + argocd.Steps
	}
	if p.GitOps && p.mesh {
		n++
	}
	if p.GitOps && p.gateways {
		n++
	}
	if p.metrics {
		n++
	}
	if p.policies {
		n += 2
	}
	return n
}

func (p *Plan) names() (all []string) {
	for _, s := range p.strategies {
		all = append(all, s.Name)
	}
	return all
}
