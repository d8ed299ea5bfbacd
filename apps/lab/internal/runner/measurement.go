package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// measurement is one overlay in one attempt, and what came out of it.
type measurement struct {
	Overlay
	in *attempt

	env       *Environment       // nil if it did not come so far
	checked   *observe.Preflight // nil if there was no preflight
	unchecked error              // why there was no preflight
	installed []string           // what this run put beside the overlay
	used      []*addon           // what it shares with others, until the end
	err       error              // why the strategy did not run
	watched   bool               // it was shown
}

// preflights tells whether there is something to judge where the strategy cannot
// run.
func (m *measurement) preflights() bool {
	return m.in.Purpose == Prove && m.in.Deployer == nil && m.Preflight != nil
}

// preflight checks all of an overlay up to the running pod: its files, and what
// the strategy looks at.
func (m *measurement) preflight(ctx context.Context, client *kube.Client) (*observe.Preflight, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, fmt.Errorf("not in %s", preflightTimeout))
	defer cancel()
	found, err := m.Preflight.Check(ctx, client, m.Overlay)
	if err != nil {
		return nil, err
	}
	if err := m.in.Check(m.Name, m.Committed); err != nil {
		found.Problems = append(found.Problems, err.Error())
		slices.Sort(found.Problems)
	}
	return found, nil
}

// run measures the strategy in its namespace. It deletes the namespace also after an
// error.
// It returns an error only when the whole run is over.
func (m *measurement) run(ctx context.Context, joined membership, client *kube.Client) (err error) {
	step, detail, end := "measuring "+m.String(), func(string) {}, func(error) {}
	if m.in.Live != nil {
		step = "showing " + m.String()
	}
	if m.in.Progress != nil {
		end = m.in.Progress.Step(step)
		detail = func(text string) { m.in.Progress.Detail(step, text) }
	}
	defer func() {
		if m.err != nil && m.in.Failed != nil {
			m.in.Failed(m.Name, m.reason().Text)
		}
		if m.watched { // it ends when somebody wants it to
			end(nil)
			return
		}
		end(cmp.Or(err, m.err))
	}()
	if m.preflights() {
		m.checked, m.unchecked = m.preflight(ctx, client)
	}
	switch {
	case m.NotRun != "":
		m.err = observe.Reason{Kind: observe.Lacking, Text: m.NotRun}
	case m.checked != nil && len(m.checked.Problems) > 0:
		m.err = fmt.Errorf("claim %d is refuted: %s", m.Preflight.Claim, m.checked.Problems[0])
	}
	if m.err != nil {
		return m.clear(ctx, client)
	}
	env, err := m.environment(client, joined)
	env.say, m.env = detail, env
	if m.err = err; err != nil {
		return nil
	}

	watching, stop := context.WithCancel(ctx)
	wait := func() {}
	defer func() {
		if !m.in.Keep && !m.in.Disposable {
			m.cleanUp(ctx, client)
		}
		stop()
		wait()
	}()
	m.err = func() (err error) {
		if err := m.prepare(ctx, client); err != nil {
			return err
		}
		if wait, err = observe.Watch(watching, env.Subject, client.Typed, env.Record); err != nil {
			return err
		}
		env.Record.Update(func(f *observe.Facts) { f.Started = time.Now() })
		if err := m.deploy(ctx, client); err != nil {
			return err
		}
		if err := env.started(ctx, m.in.StartTime); err != nil {
			return err
		}
		if err := env.injected(ctx); err != nil {
			return err
		}
		return env.programmed(ctx, m.Objects)
	}()
	if m.err == nil {
		m.err = m.experiments(ctx, client)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.err != nil {
		env.Note("%v", m.err)
	}
	return nil
}

// environment reads from the rendering what experiments need of it. What it
// returns can take notes after an error, too.
func (m *measurement) environment(client *kube.Client, joined membership) (*Environment, error) {
	subject := observe.Subject{Strategy: m.Name, Namespace: m.Namespace, DNS: m.in.DNS, ByName: m.ByName}
	servers, err := component(m.Objects, manifest.Server)
	var clients *appsv1.Deployment
	if err == nil {
		clients, err = component(m.Objects, manifest.Client)
	}
	if err == nil {
		subject.Server, subject.Client = servers.Name, clients.Name
		var errs [2]error
		subject.ConnectionAge, errs[0] = duration(servers, ageFlag)
		subject.ConnectionAgeGrace, errs[1] = duration(servers, graceFlag)
		err = errors.Join(errs[:]...)
	}
	env := NewEnvironment(m.Strategy, m.in.Cluster, client, observe.NewFacts(subject))
	env.shared, env.barriers, env.Servers, env.Clients = m.in.shared, joined, servers, clients
	env.Proxies, _ = deployment(m.Objects, m.Proxy) // a DaemonSet's is none
	if m.Certificates != nil {
		// Another attempt begins with those of the overlay.
		env.Certificates = new(*m.Certificates)
	}
	env.Policies = m.Policies
	return env, err
}

// experiments makes all of them and gathers what only the end can tell.
func (m *measurement) experiments(ctx context.Context, client *kube.Client) error {
	env := m.env
	if m.in.Live != nil {
		m.watched = true
		return m.in.Live(ctx, env)
	}
	for _, e := range m.Experiments {
		if e.servesFor(m.in.Purpose) {
			if err := m.experiment(ctx, client, e); err != nil {
				return err
			}
			if why := env.facts.Phases[e.Name].NotMeasured; e.Policies && why != (observe.Reason{}) {
				return why
			}
		}
	}
	if m.in.Purpose == Compare {
		return nil // no claim needs the logs' ends
	}
	account := "system:serviceaccount:" + m.Namespace + ":" + env.Clients.Spec.Template.Spec.ServiceAccountName
	asked, unknown := observe.Requests(ctx, m.in.Cluster, account, env.facts.Started)
	env.Record.Update(func(f *observe.Facts) {
		f.Requests, f.RequestsUnknown = asked, unknown
	})
	if m.in.Keep {
		env.Note("the namespace is kept: servers go on, so their count of calls is not known")
		return nil
	}
	if err := m.in.release(ctx, m.Name); err != nil {
		return err
	}
	if err := env.shutdown(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		env.Note("%v", err) // the claims about the logs say what is missing
	}
	return nil
}

// experiment makes one while what it needs stays, or while no other needs what
// it takes away.
func (m *measurement) experiment(ctx context.Context, client *kube.Client, e Experiment) error {
	if m.in.Shared && e.Alone {
		m.env.leaveOut(e, observe.Reason{Kind: observe.OutOfReach, Text: "it would take from others what they use of this cluster"})
		return nil
	}
	if e.Metrics {
		if why := m.serveMetrics(ctx, client); why != (observe.Reason{}) {
			m.env.leaveOut(e, why)
			return nil
		}
		defer m.leaveMetrics(ctx, client)
	}
	if m.NeedsMesh() {
		done, err := m.in.shared.mesh.use(ctx, e.Alone)
		if err != nil {
			return err
		}
		defer done()
	}
	if e.Edits {
		if err := m.in.release(ctx, m.Name); err != nil {
			return err
		}
	}
	return m.env.measure(ctx, e)
}

// deploy brings the overlay onto the cluster and marks its namespace.
func (m *measurement) deploy(ctx context.Context, client *kube.Client) error {
	if m.in.Deployer == nil {
		m.env.Note("apply overlay %s to namespace %s", m.Name, m.Namespace)
		return client.Apply(ctx, m.Marked()...)
	}
	m.env.Note("let Argo CD sync overlay %s to namespace %s", m.Name, m.Namespace)
	limited, cancel := context.WithTimeoutCause(ctx, deployTimeout, fmt.Errorf("not in %s", deployTimeout))
	defer cancel()
	if err := m.in.Deployer.Deploy(limited, m.Name); err != nil {
		return err
	}
	mark := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, MadeByLab, m.Run)
	_, err := client.Typed.CoreV1().Namespaces().Patch(ctx, m.Namespace, types.MergePatchType, mark, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// prepare installs what the strategy needs beside its overlay and the cluster
// does not have.
func (m *measurement) prepare(ctx context.Context, client *kube.Client) error {
	if m.NeedsGatewayAPI(m.in.Purpose) {
		if err := m.serveGateways(ctx, client); err != nil {
			return err
		}
	}
	if m.NeedsPolicies(m.in.Purpose) {
		if _, err := m.use(ctx, client, m.in.shared.policies); err != nil {
			return err
		}
	}
	if !m.NeedsMesh() {
		return nil
	}
	_, err := m.use(ctx, client, &m.in.shared.mesh.addon)
	return err
}

// use joins the users of something until the end of the measurement, and says whether this
// run installed it.
func (m *measurement) use(ctx context.Context, client *kube.Client, a *addon) (installed bool, err error) {
	m.used = append(m.used, a)
	what, err := a.join(ctx, client, m.env.Note)
	m.installed = append(m.installed, what)
	return what != "", err
}

func (m *measurement) cleanUp(ctx context.Context, client *kube.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for _, a := range m.used { // the last comes first
		defer a.leave(ctx, client, m.env.Note)
	}
	m.env.Note("wait until namespace %s is deleted", m.Namespace)
	// A run that failed early has a deployer that would bring the namespace back.
	if err := errors.Join(m.in.release(ctx, m.Name), deleteNamespace(ctx, client.Typed, m.Namespace)); err != nil {
		m.env.Note("%v", err)
	}
}

// clear deletes what the preflight of a strategy applied that cannot run.
func (m *measurement) clear(ctx context.Context, client *kube.Client) error {
	if m.in.Keep || m.in.Disposable {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return deleteNamespace(ctx, client.Typed, m.Namespace)
}
