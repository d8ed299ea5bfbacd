package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Config is what a run needs.
type Config struct {
	// Summarize fills in a strategy's figures and what it costs. Change is what an
	// application must change for it.
	Summarize func(f *observe.Facts, change report.Change, s *report.Strategy) error
	// Check judges the files of an overlay that a preflight looks at.
	Check      func(overlay string, objects []manifest.Object) error
	Cluster    cluster.Cluster
	Repository *manifest.Repository
	// Strategies are those to run.
	Strategies []Strategy
	// Images replaces images of the rendering, see manifest.RenderWithImages. The
	// cluster's nodes must have them.
	Images map[string]string
	// DNS holds the facts of the cluster's DNS.
	DNS observe.DNS
	// Unavailable says of strategies why they cannot run here.
	Unavailable map[string]string
	// Istio is installed where a strategy needs it and the cluster has none; nil
	// installs nothing.
	Istio *istio.Istio
	// Deployer deploys the overlays; nil applies them as kubectl does.
	Deployer Deployer
	// Purpose says which experiments are made; the zero value makes those of every
	// purpose alone.
	Purpose Purpose
	// Origins says, by strategy, where images came from that this lab did not
	// build.
	Origins map[string][]string
	// Parallel is how many strategies run at once; 0 means all.
	Parallel int
	// Keep leaves the namespaces as they are.
	Keep bool
	// Disposable says that the cluster ends with the run: nobody waits until the
	// namespaces are gone.
	Disposable bool
	// Shared says that others use the cluster too: what takes something away from
	// them is not done.
	Shared bool
	// StartTime is what the first pods may take to be ready, their images' pulling
	// included; 0 is enough where the nodes have the images.
	StartTime time.Duration
	// Retries is how often strategies are measured once more, without the others,
	// when a claim about them was decided neither way or refuted.
	Retries int
	// Progress is told what goes on; nil is silent.
	Progress progress.Reporter
	// Judged is told the claims about each strategy as soon as they are judged, from
	// several goroutines; it may be nil. Another attempt may judge them again.
	Judged func(claims []report.Claim)
}

// Deployer brings overlays onto the cluster by other means than applying them.
type Deployer interface {
	// Deploy returns when all of the strategy's overlay is on the cluster.
	Deploy(ctx context.Context, strategy string) error
	// Release lets changes stand from then on that the deployer would undo.
	Release(ctx context.Context, strategy string) error
}

// Run measures the overlays and judges every claim about them. The error is
// about the run as a whole: a strategy that fails is in the result. What was
// measured before the error is in the result too.
func Run(ctx context.Context, cfg Config) (report.Result, error) {
	cfg.Strategies = slices.Clone(cfg.Strategies)
	for i := range cfg.Strategies {
		s := &cfg.Strategies[i]
		s.NotRun = cmp.Or(s.NotRun, cfg.Unavailable[s.Name])
	}
	result, outcomes, err := measureOnce(ctx, cfg)
	for n := 0; err == nil && n < cfg.Retries; n++ {
		if cfg.Strategies = doubtful(outcomes); len(cfg.Strategies) == 0 {
			break
		}
		for _, s := range cfg.Strategies { // whose namespaces are deleted first
			err = errors.Join(err, cfg.release(ctx, s))
		}
		if err != nil {
			break
		}
		var next report.Result
		next, outcomes, err = measureOnce(ctx, cfg)
		result = result.Again(next)
	}
	return result, err
}

// outcome is what one attempt came to for one strategy.
type outcome struct {
	strategy    Strategy
	reason      observe.Reason // why it did not run, if it did not
	row         report.Strategy
	claims      []report.Claim
	experiments []report.Experiment
}

// doubtful returns the strategies that another attempt could bring more about
// than this one did: what is busy for a moment may be so no longer. A strategy
// that lacks what it needs is not among them, nor is what its files say.
func doubtful(outcomes []outcome) []Strategy {
	var again []Strategy
	for _, o := range outcomes {
		if o.reason.Kind == observe.Lacking {
			continue
		}
		if o.row.Status != report.Ran || slices.ContainsFunc(o.claims, func(c report.Claim) bool {
			return c.Status != report.Proven && !c.OutOfReach && !o.strategy.isStatic(c.ID)
		}) {
			again = append(again, o.strategy)
		}
	}
	return again
}

// isStatic tells whether a claim about the strategy is about its rendering alone.
func (s Strategy) isStatic(id int) bool {
	return slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.ID == id && c.Static })
}

// release lets changes to a strategy stand from then on that a deployer would
// undo.
func (c Config) release(ctx context.Context, s Strategy) error {
	if c.Deployer == nil {
		return nil
	}
	return c.Deployer.Release(ctx, s.Name)
}

// measureOnce is one attempt of Run.
func measureOnce(ctx context.Context, cfg Config) (report.Result, []outcome, error) {
	result := report.Result{
		Started: time.Now(), Cluster: cfg.Cluster.Kind(), Machine: machine(), Versions: maps.Clone(cfg.Cluster.Versions()),
		Strategies: []report.Strategy{}, Claims: []report.Claim{}, Experiments: []report.Experiment{},
	}
	runs := make([]*run, len(cfg.Strategies))
	for i, s := range cfg.Strategies {
		runs[i] = &run{cfg: cfg, strategy: s, namespace: manifest.Namespace(s.Name)}
	}
	err := measureAll(ctx, cfg, runs)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // once, not for each strategy
	}
	var outcomes []outcome
	for _, r := range runs {
		o := r.outcome()
		outcomes = append(outcomes, o)
		result.Strategies = append(result.Strategies, o.row)
		result.Claims = append(result.Claims, o.claims...)
		result.Experiments = append(result.Experiments, o.experiments...)
	}
	result.Finished = time.Now()
	return result, outcomes, err
}

// measureAll renders and claims everything before anything is changed.
func measureAll(ctx context.Context, cfg Config, runs []*run) error {
	config, err := cfg.Cluster.RESTConfig()
	if err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	client, err := kube.New(config)
	if err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	for _, r := range runs {
		if r.differs, err = differs(cfg.Repository, r.strategy); err != nil {
			return fmt.Errorf("experiment: %w", err)
		}
	}
	runs = slices.DeleteFunc(slices.Clone(runs), func(r *run) bool { return r.strategy.NotRun != "" && !r.preflights() })
	for _, r := range runs {
		if r.objects, r.l4, err = r.render(); err != nil {
			return fmt.Errorf("experiment: %w", err)
		}
	}
	if err := eachOf(ctx, 0, runs, func(ctx context.Context, r *run) error {
		limited, cancel := context.WithTimeout(ctx, cleanupTimeout)
		defer cancel()
		return claimNamespace(limited, client.Typed, r.namespace)
	}); err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	id := fmt.Sprintf("%d", time.Now().Unix())
	together := newShared(newMesh(cfg.Istio))
	return eachOf(ctx, cfg.Parallel, runs, func(ctx context.Context, r *run) error {
		joined := together.join(r.strategy.Experiments, cfg.Purpose)
		defer joined.drop()
		r.shared = together
		err := r.run(ctx, joined, client, id)
		if cfg.Judged != nil && err == nil {
			cfg.Judged(r.outcome().claims)
		}
		return err
	})
}

// run is one strategy from its rendering to its claims.
type run struct {
	cfg       Config
	strategy  Strategy
	namespace string
	objects   []*unstructured.Unstructured
	l4        *appsv1.Deployment // the client to compare with
	differs   *[]string          // see Facts.Differs
	shared    *shared

	env       *Environment
	checked   *observe.Preflight
	unchecked error  // why there is no preflight
	err       error  // why the strategy did not run
	installed string // what this run put beside the overlay
}

// preflights tells whether there is something to judge where the strategy cannot
// run.
func (r *run) preflights() bool {
	return r.cfg.Purpose == Prove && r.cfg.Deployer == nil && r.strategy.Preflight != nil
}

// preflight checks all of an overlay up to the running pod: its files, and what
// the strategy looks at.
func (r *run) preflight(ctx context.Context, client *kube.Client, id string) (*observe.Preflight, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, fmt.Errorf("not in %s", preflightTimeout))
	defer cancel()
	rendered, err := r.cfg.Repository.Render(r.strategy.Name)
	if err != nil {
		return nil, err
	}
	typed, err := manifest.Decode(rendered)
	if err != nil {
		return nil, err
	}
	found, err := r.strategy.Preflight.Check(ctx, client, Rendering{r.strategy, r.namespace, r.objects, id})
	if err != nil {
		return nil, err
	}
	if err := r.cfg.Check(r.strategy.Name, typed); err != nil {
		found.Problems = append(found.Problems, err.Error())
		slices.Sort(found.Problems)
	}
	return found, nil
}

// Rendering is a strategy's overlay as it is applied.
type Rendering struct {
	Strategy  Strategy
	Namespace string
	Objects   []*unstructured.Unstructured
	// Run marks the namespace as made by this run, see Marked.
	Run string
}

// Marked returns the objects of some kinds, the Namespace among them marked as
// the lab's.
func (r Rendering) Marked(kinds ...string) []*unstructured.Unstructured {
	return marked(slices.DeleteFunc(slices.Clone(r.Objects), func(o *unstructured.Unstructured) bool {
		return !slices.Contains(kinds, o.GetKind())
	}), r.Run)
}

// render returns the overlay's objects with this cluster's images, and the
// client of l4.
func (r *run) render() ([]*unstructured.Unstructured, *appsv1.Deployment, error) {
	load := func(name string) ([]*unstructured.Unstructured, error) {
		plain, err := r.cfg.Repository.Render(name)
		if err != nil {
			return nil, err
		}
		named, err := manifest.Images(plain)
		if err != nil {
			return nil, err
		}
		images := maps.Clone(r.cfg.Images)
		maps.DeleteFunc(images, func(from, _ string) bool {
			return !slices.ContainsFunc(named, func(i string) bool { return strings.HasPrefix(i, from+":") || strings.HasPrefix(i, from+"@") })
		})
		rendered, err := r.cfg.Repository.RenderWithImages(name, images)
		if err != nil {
			return nil, err
		}
		return manifest.Unstructured(rendered)
	}
	plainest, err := load("l4")
	if err != nil {
		return nil, nil, err
	}
	l4, err := component(plainest, manifest.Client)
	if err != nil {
		return nil, nil, err
	}
	objects, err := load(r.strategy.Name)
	return objects, l4, err
}

// differs compares a strategy that claims to be l4's files with l4.
func differs(repository *manifest.Repository, strategy Strategy) (*[]string, error) {
	if !slices.ContainsFunc(strategy.Claims, func(c Claim) bool { return c.Own }) {
		return nil, nil
	}
	l4, err := repository.Render("l4")
	if err != nil {
		return nil, err
	}
	own, err := repository.Render(strategy.Name)
	if err != nil {
		return nil, err
	}
	all, err := manifest.DifferencesInKind(l4, own)
	return &all, err
}

// run measures the strategy in its namespace and deletes that whatever happens.
// It returns an error only when the whole run is over.
func (r *run) run(ctx context.Context, joined membership, client *kube.Client, id string) (err error) {
	step, detail, end := "measuring "+r.strategy.String(), func(string) {}, func(error) {}
	if r.cfg.Progress != nil {
		end = r.cfg.Progress.Step(step)
		detail = func(text string) { r.cfg.Progress.Detail(step, text) }
	}
	defer func() { end(cmp.Or(err, r.err)) }()
	if r.preflights() {
		r.checked, r.unchecked = r.preflight(ctx, client, id)
	}
	switch {
	case r.strategy.NotRun != "":
		r.err = observe.Reason{Kind: observe.Lacking, Text: r.strategy.NotRun}
	case r.checked != nil && len(r.checked.Problems) > 0:
		r.err = fmt.Errorf("claim %d is refuted: %s", r.strategy.Preflight.Claim, r.checked.Problems[0])
	}
	if r.err != nil {
		return r.clear(ctx, client)
	}
	a, err := r.environment(client, joined)
	a.say, r.env = detail, a
	if r.err = err; err != nil {
		return nil
	}

	watching, stop := context.WithCancel(ctx)
	wait := func() {}
	defer func() {
		if !r.cfg.Keep && !r.cfg.Disposable {
			r.cleanUp(ctx, client)
		}
		stop()
		wait()
	}()
	r.err = func() (err error) {
		if err := r.prepare(ctx, client); err != nil {
			return err
		}
		if wait, err = observe.Watch(watching, a.Subject, client.Typed, a.Record); err != nil {
			return err
		}
		a.Record.Update(func(f *observe.Facts) { f.Started = time.Now() })
		if err := r.deploy(ctx, client, id); err != nil {
			return err
		}
		if err := a.started(ctx, r.cfg.StartTime); err != nil {
			return err
		}
		return a.injected(ctx)
	}()
	if r.err == nil {
		r.err = r.experiments(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.err != nil {
		a.Note("%v", r.err)
	}
	return nil
}

// environment reads from the rendering what experiments need of it. What it
// returns can take notes after an error, too.
func (r *run) environment(client *kube.Client, joined membership) (*Environment, error) {
	subject := observe.Subject{Strategy: r.strategy.Name, Namespace: r.namespace, DNS: r.cfg.DNS, ByName: r.strategy.ByName}
	servers, err := component(r.objects, manifest.Server)
	var clients *appsv1.Deployment
	if err == nil {
		clients, err = component(r.objects, manifest.Client)
	}
	if err == nil {
		subject.Server, subject.Client = servers.Name, clients.Name
		subject.ConnectionAge, err = connectionAge(servers)
	}
	a := NewEnvironment(r.strategy, r.cfg.Cluster, client, observe.NewFacts(subject))
	a.shared, a.barriers, a.servers, a.Clients = r.shared, joined, servers, clients
	a.Proxies, _ = deployment(r.objects, r.strategy.Proxy) // a DaemonSet's is none
	return a, err
}

// experiments makes all of them and gathers what only the end can tell.
func (r *run) experiments(ctx context.Context) error {
	a := r.env
	for _, e := range r.strategy.Experiments {
		if e.servesFor(r.cfg.Purpose) {
			if err := r.experiment(ctx, e); err != nil {
				return err
			}
		}
	}
	if r.cfg.Purpose == Compare {
		return nil // no claim needs the logs' ends
	}
	account := "system:serviceaccount:" + r.namespace + ":" + a.Clients.Spec.Template.Spec.ServiceAccountName
	asked, unknown := observe.Requests(ctx, r.cfg.Cluster, account, a.facts.Started)
	a.Record.Update(func(f *observe.Facts) {
		f.Requests, f.RequestsUnknown = asked, unknown
	})
	if r.cfg.Keep {
		a.Note("the namespace is kept: servers go on, so their count of calls is not known")
		return nil
	}
	if err := r.cfg.release(ctx, r.strategy); err != nil {
		return err
	}
	if err := a.shutdown(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		a.Note("%v", err) // the claims about the logs say what is missing
	}
	return nil
}

// experiment makes one while what it needs stays, or while no other needs what
// it takes away.
func (r *run) experiment(ctx context.Context, e Experiment) error {
	if r.cfg.Shared && e.Alone {
		r.env.leaveOut(e, "it would take from others what they use of this cluster")
		return nil
	}
	if r.strategy.Sidecar != "" {
		done, err := r.shared.mesh.use(ctx, e.Alone)
		if err != nil {
			return err
		}
		defer done()
	}
	if e.Edits {
		if err := r.cfg.release(ctx, r.strategy); err != nil {
			return err
		}
	}
	return r.env.measure(ctx, e)
}

// deploy brings the overlay onto the cluster and marks its namespace.
func (r *run) deploy(ctx context.Context, client *kube.Client, id string) error {
	if r.cfg.Deployer == nil {
		r.env.Note("apply overlay %s to namespace %s", r.strategy.Name, r.namespace)
		return client.Apply(ctx, marked(r.objects, id)...)
	}
	r.env.Note("let Argo CD sync overlay %s to namespace %s", r.strategy.Name, r.namespace)
	limited, cancel := context.WithTimeoutCause(ctx, deployTimeout, fmt.Errorf("not in %s", deployTimeout))
	defer cancel()
	if err := r.cfg.Deployer.Deploy(limited, r.strategy.Name); err != nil {
		return err
	}
	mark := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, MadeByLab, id)
	_, err := client.Typed.CoreV1().Namespaces().Patch(ctx, r.namespace, types.MergePatchType, mark, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// prepare installs what the strategy needs beside its overlay and the cluster
// does not have.
func (r *run) prepare(ctx context.Context, client *kube.Client) (err error) {
	if r.strategy.Sidecar == "" {
		return nil
	}
	r.installed, err = r.shared.mesh.join(ctx, client, r.env.Note)
	return err
}

func (r *run) cleanUp(ctx context.Context, client *kube.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if r.strategy.Sidecar != "" {
		defer r.shared.mesh.leave(ctx, client, r.env.Note)
	}
	r.env.Note("wait until namespace %s is deleted", r.namespace)
	// A run that failed early has a deployer that would bring the namespace back.
	if err := errors.Join(r.cfg.release(ctx, r.strategy), deleteNamespace(ctx, client.Typed, r.namespace)); err != nil {
		r.env.Note("%v", err)
	}
}

// clear deletes what the preflight of a strategy applied that cannot run.
func (r *run) clear(ctx context.Context, client *kube.Client) error {
	if r.cfg.Keep || r.cfg.Disposable {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return deleteNamespace(ctx, client.Typed, r.namespace)
}

// eachOf calls do for every run, some at once, and returns what failed. The end
// of one for an error does not end the others.
func eachOf(ctx context.Context, limit int, runs []*run, do func(context.Context, *run) error) error {
	var group errgroup.Group
	if limit > 0 {
		group.SetLimit(limit)
	}
	failed := make([]error, len(runs))
	for i, r := range runs {
		group.Go(func() error {
			failed[i] = do(ctx, r)
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
	return errors.Join(failed...)
}
