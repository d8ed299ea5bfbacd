package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

const (
	// clearTime is what removing Argo CD and what it made may take.
	clearTime = 2 * time.Minute
	// pullTime is what the first pods may take on a cluster that pulls their images.
	pullTime = 3 * time.Minute
	// atOnce is how many strategies run at once beside what else runs on a cluster of
	// others.
	atOnce = 3
)

// Execution says how a plan is carried out.
type Execution struct {
	// Disposable says that the cluster ends with the run: nothing is removed from it.
	Disposable bool
	Progress   progress.Reporter
	// Judged gets the claims about each strategy as they are judged; it may be nil.
	Judged func([]report.Claim)
	// Live, if it is set, gets the environments of the strategies, see [runner.Listener].
	Live func(context.Context, *runner.Environment) error
	// Failed gets why a strategy was not run; it may be nil.
	Failed func(strategy, reason string)
}

// Measure runs the experiments with what Supply brought.
func (p *Plan) Measure(ctx context.Context, on cluster.Cluster, s *Supplies, e Execution) (result report.Result, err error) {
	config, err := on.RESTConfig()
	if err != nil {
		return result, err
	}
	client, err := kube.New(config)
	if err != nil {
		return result, err
	}
	if p.Registry == nil {
		if err := clearArgoCD(ctx, client); err != nil {
			return result, fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	known := s.clone()
	dns := on.DNS(ctx)
	for _, st := range p.strategies {
		if dns.Assumed && strategy.FollowsDNS(st) {
			known.add(st.Name, fmt.Sprintf("the TTL and the cache of this cluster's DNS are not known, %s and %s are assumed", dns.TTL, dns.Cache))
		}
		if p.Nodes.Assumed {
			known.add(st.Name, fmt.Sprintf("the nodes may not be listed, so their architecture is taken to be this machine's, %s", strings.Join(p.Nodes.Architectures, ", ")))
		}
	}
	c := runner.Config{
		Options: runner.Options{Purpose: p.Purpose, Retries: p.Retries, Keep: p.Keep},
		Place:   runner.Place{Cluster: on, DNS: dns, Disposable: e.Disposable, Shared: p.Registry != nil},
		Istio:   s.istio, Metrics: s.metrics, Policies: s.policies, Judge: runner.Judge{Summarize: strategy.Summarize, Check: check.Objects},
		Listener: runner.Listener{Progress: e.Progress, Judged: e.Judged, Live: e.Live, Failed: e.Failed},
	}
	if c.Shared {
		c.StartTime = pullTime
		if e.Live == nil { // those that are watched run until the end
			c.Parallel = atOnce
		}
	}
	if s.gateways != nil { // else the interface would hold a nil pointer
		c.GatewayAPI = s.gateways
	}
	if p.oneByOne {
		c.Parallel = 1
	}
	if c.Overlays, err = runner.Render(p.repository, p.strategies, s.images); err != nil {
		return result, err
	}
	c.Overlays = known.of(c.Overlays)
	if p.GitOps {
		result, err = p.measureSynced(ctx, client, s, c)
	} else {
		result, err = runner.Run(ctx, c)
	}
	if !result.Started.IsZero() {
		maps.Copy(result.Versions, s.versions)
	}
	return result, err
}

// of returns the overlays with what is known of them.
func (r remarks) of(overlays []runner.Overlay) []runner.Overlay {
	for i := range overlays {
		o := &overlays[i]
		o.NotRun, o.Origins = cmp.Or(o.NotRun, r.unavailable[o.Name]), r.origins[o.Name]
	}
	return overlays
}

func (r remarks) add(strategy, origin string) {
	r.origins[strategy] = append(r.origins[strategy], origin)
}

// measureSynced lets Argo CD deploy the overlays, judges that, and runs the
// experiments on what it deployed.
func (p *Plan) measureSynced(ctx context.Context, client *kube.Client, s *Supplies, c runner.Config) (result report.Result, err error) {
	var added []runner.Addon // by this run
	if !p.Keep && !c.Disposable {
		defer func() {
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(err, clearArgoCD(ctx, client))
			for _, a := range slices.Backward(added) {
				err = errors.Join(err, a.Remove(ctx, client))
			}
		}()
	}
	add := func(a runner.Addon, needed func(runner.Strategy) bool) error {
		installed, err := installAddon(ctx, client, a, c.Progress)
		if installed == "" {
			return err
		}
		added = append(added, a)
		for i, o := range c.Overlays {
			if needed(o.Strategy) {
				c.Overlays[i].Origins = append(slices.Clone(o.Origins), installed)
			}
		}
		return err
	}
	if s.gateways != nil { // before Istio, which then serves it from its start
		if err := add(s.gateways, p.hasGateways); err != nil {
			return result, err
		}
	}
	if s.istio != nil {
		if err := add(s.istio, runner.Strategy.NeedsMesh); err != nil {
			return result, err
		}
	}
	started := time.Now()
	deployer, claims, experiments, tryErr := p.try(ctx, client, s, c)
	if tryErr != nil && len(claims) == 0 {
		return result, tryErr
	}
	if tryErr != nil { // what was judged is worth reading
		for i := range c.Overlays {
			c.Overlays[i].NotRun = "Argo CD did not let go of it"
		}
	}
	c.Deployer = deployer
	result, err = runner.Run(ctx, c)
	err = errors.Join(tryErr, err)
	if err == nil && p.Keep {
		err = deployer.Restore(ctx)
	}
	result.Started = started
	result.Claims, result.Experiments = append(result.Claims, claims...), append(experiments, result.Experiments...)
	return result, err
}

// installAddon puts what is missing onto a cluster, before Argo CD syncs what needs it, and
// says what it installed.
func installAddon(ctx context.Context, client *kube.Client, a runner.Addon, r progress.Reporter) (installed string, err error) {
	there, err := a.Installed(ctx, client)
	if err != nil || there {
		return "", err
	}
	if installed, err = a.Describe(); err != nil {
		return "", err
	}
	return installed, progress.Run(ctx, r, "install "+a.String(), imageTime, func(ctx context.Context, _ func(string)) error {
		return a.Install(ctx, client)
	})
}

// try lets Argo CD deploy everything and judges what it does.
func (p *Plan) try(ctx context.Context, client *kube.Client, s *Supplies, c runner.Config) (*argocd.Deployer, []report.Claim, []report.Experiment, error) {
	dir, err := os.MkdirTemp("", "grpc-lb-git-")
	if err != nil {
		return nil, nil, nil, err
	}
	defer os.RemoveAll(dir)
	unable := map[string]string{}
	for _, st := range p.synced {
		why := cmp.Or(st.NotRun, s.unavailable[st.Name])
		if s.istio == nil && (st.Sidecar.ClientsOnly || st.Gateway) {
			why = cmp.Or(why, strategy.LacksIstio)
		}
		// Without sidecars all pods of istio run, as l4's do.
		if why != "" && (!st.Injected() || st.Sidecar.ClientsOnly) {
			unable[st.Name] = why
		}
	}
	return s.argocd.Try(ctx, argocd.Config{Kube: client, Root: p.repository.Root(), Dir: dir, Images: s.images, Unable: unable, Retries: p.Retries}, c.Progress)
}

func clearArgoCD(ctx context.Context, client *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clearTime, fmt.Errorf("not in %s", clearTime))
	defer cancel()
	return argocd.Clear(ctx, client)
}
