package experiment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// measure makes one experiment and those inside it. That it could not be
// measured is written down and does not stop the others; only the end of the
// run does.
func (a *arena) measure(ctx context.Context, e Experiment) error {
	r := &report.Experiment{
		Name: e.Name, Strategy: a.strategy.Name, Status: report.Measured,
		Steady: e.Steady, Change: e.Change, Started: time.Now(),
	}
	p := &Phase{}
	a.met = 0
	a.experiments = append(a.experiments, r)
	defer a.journalTo(&r.Journal)()
	defer func() { r.Finished = time.Now() }()
	a.record.update(func(f *Facts) { f.Phases[e.Name] = p })
	failed := func(err error) error {
		r.Status, r.Reason = report.NotMeasured, brief(err)
		a.note("not measured: %v", err)
		a.record.update(func(*Facts) { p.NotMeasured = r.Reason })
		_ = a.meetLeft(ctx, e) // it fails with ctx
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}

	if err := a.hold(ctx, e); err != nil {
		return failed(fmt.Errorf("no steady state: %w", err))
	}
	a.record.update(func(f *Facts) { p.Begin, p.Clients, p.Servers = time.Now(), f.running(), f.readyNow() })
	a.note("steady: %d clients, %d servers ready", len(p.Clients), len(p.Servers))
	if e.undo != nil {
		defer a.undo(ctx, e)
	}
	started := func() {}
	if e.startsPods {
		var err error
		if started, err = a.quiet.startPods(ctx); err != nil {
			return failed(err)
		}
		defer started()
	}
	for _, step := range []func(context.Context, *arena, *Phase) error{e.change, e.observe} {
		if step == nil {
			continue
		}
		a.record.update(func(*Facts) {
			if p.Change.IsZero() {
				p.Change = time.Now()
			}
		})
		if err := step(ctx, a, p); err != nil {
			return failed(err)
		}
		started()
	}
	a.record.update(func(*Facts) { p.End = time.Now() })
	if err := a.meetLeft(ctx, e); err != nil {
		return failed(err)
	}
	a.note("observed for %s", seconds(p.End.Sub(p.Change).Round(time.Millisecond)))
	for _, inner := range e.inner {
		if inner.appliesTo(a.strategy.kind(), Any) {
			if err := a.measure(ctx, inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveOut writes down why an experiment is not made on this cluster.
func (a *arena) leaveOut(e Experiment, why string) {
	now := time.Now()
	a.experiments = append(a.experiments, &report.Experiment{
		Name: e.Name, Strategy: a.strategy.Name, Status: report.NotMeasured, Reason: why,
		Steady: e.Steady, Change: e.Change, Started: now, Finished: now,
	})
	a.record.update(func(f *Facts) {
		f.Phases[e.Name] = &Phase{NotMeasured: why}
		f.outOfReach(why)
	})
}

// hold brings about the steady state, and where it must be at rest waits for the
// others' and checks its own again.
func (a *arena) hold(ctx context.Context, e Experiment) error {
	if err := e.hold(ctx, a); err != nil || e.meetings == 0 {
		return err
	}
	if err := a.meet(ctx); err != nil {
		return err
	}
	return e.hold(ctx, a)
}

// meet waits until the other strategies have come as far.
func (a *arena) meet(ctx context.Context) error {
	a.met++
	return a.quiet.wait(ctx)
}

// meetLeft attends the meetings that are left of an experiment. Where it failed,
// too: who skipped one would meet the others in the wrong place from then on.
func (a *arena) meetLeft(ctx context.Context, e Experiment) error {
	for a.met < e.meetings {
		if err := a.meet(ctx); err != nil {
			return err
		}
	}
	return nil
}

// undo takes the change back, with time of its own. A run that was interrupted
// deletes the namespace, which undoes everything.
func (a *arena) undo(ctx context.Context, e Experiment) {
	if ctx.Err() != nil {
		a.note("undone with the namespace: %v", context.Cause(ctx))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	a.note("undo %s", e.Name)
	if err := e.undo(ctx, a); err != nil {
		a.note("not undone: %v", err)
	}
}

// finish adds what the experiments asserted, when all logs are read.
func (a *arena) finish(all []Experiment) {
	for _, e := range all {
		if i := slices.IndexFunc(a.experiments, func(r *report.Experiment) bool { return r.Name == e.Name }); i >= 0 && e.assert != nil && a.experiments[i].Status == report.Measured {
			a.experiments[i].Findings = e.assert(a.facts, a.facts.Phases[e.Name])
		}
		a.finish(e.inner)
	}
}

func (a *arena) replicas() int { return int(*a.servers.Spec.Replicas) }

// started waits until all servers of the overlay are ready for the first time:
// longer than ever after where their nodes may still pull images.
func (a *arena) started(ctx context.Context, limit time.Duration) error {
	err := a.readyIn(ctx, steadyTimeout, a.replicas())
	if err == nil || ctx.Err() != nil || limit <= steadyTimeout {
		return err
	}
	onNodes := false
	a.record.look(func(*Facts) {
		for _, p := range a.pods {
			onNodes = onNodes || p.Spec.NodeName != ""
		}
	})
	if !onNodes {
		return err
	}
	a.note("wait longer: nodes may still pull images")
	return a.readyIn(ctx, limit-steadyTimeout, a.replicas())
}

// serversReady waits until that many servers are ready, no more and no fewer.
func (a *arena) serversReady(ctx context.Context, n int) error {
	return a.readyIn(ctx, steadyTimeout, n)
}

func (a *arena) readyIn(ctx context.Context, limit time.Duration, n int) error {
	return a.await(ctx, limit, fmt.Sprintf("%d ready servers", n), func(f *Facts) string {
		if ready := len(f.readyNow()); ready != n {
			return fmt.Sprintf("%d of %d are ready", ready, n)
		}
		return ""
	})
}

// steady waits until n servers are ready and every client's last two windows are
// free of failures and, where asked, name every server that they should.
func (a *arena) steady(ctx context.Context, n int, everyServer bool) error {
	if err := a.serversReady(ctx, n); err != nil {
		return err
	}
	if everyServer && a.strategy.ByName {
		if err := a.freshClients(ctx); err != nil {
			return err
		}
	}
	since := time.Now()
	return a.await(ctx, steadyTimeout, "a steady state", func(f *Facts) string {
		if got, want := len(f.running()), int(*a.clients.Spec.Replicas); got != want {
			return fmt.Sprintf("%d of %d clients run", got, want)
		}
		for _, name := range f.running() {
			last := f.Clients[name].between(since.Add(-time.Second), time.Now())
			if len(last) < 2 {
				return name + " has not logged two windows"
			}
			last = last[len(last)-2:]
			if n := failures(last); n > 0 {
				return fmt.Sprintf("%d calls of %s failed", n, name)
			}
			if missing := without(f.readyNow(), calls(last).Servers()); everyServer && a.strategy.EveryServer && len(missing) > 0 {
				return fmt.Sprintf("%s does not call %s", name, strings.Join(missing, ", "))
			}
		}
		return ""
	})
}

// freshClients makes sure that every client started when DNS already knew the
// servers that are ready now: it restarts those that did not, once DNS does.
func (a *arena) freshClients(ctx context.Context) error {
	var known time.Time
	fresh := true
	a.record.look(func(f *Facts) {
		known = f.endpointsSince().Add(f.DNS.Trail())
		for _, name := range f.running() {
			if c := f.Clients[name]; c.Started.Before(known) {
				fresh = false
			}
		}
	})
	if fresh {
		return nil
	}
	if wait := time.Until(known); wait > 0 {
		a.note("wait %s until DNS cannot trail", seconds(wait.Round(10*time.Millisecond)))
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	a.note("restart the clients: delete their pods")
	restarted := time.Now()
	if err := a.client.CoreV1().Pods(a.facts.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: nameLabel + "=" + a.facts.Client}); err != nil {
		return fmt.Errorf("restarting the clients: %w", err)
	}
	return a.await(ctx, steadyTimeout, "the restarted clients", func(f *Facts) string {
		answered := 0
		for _, name := range f.running() {
			c, p := f.Clients[name], a.pods[name]
			if p != nil && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && len(c.First) > 0 && c.Started.After(restarted) {
				answered++
			}
		}
		if want := int(*a.clients.Spec.Replicas); answered != want || len(f.running()) != want {
			return fmt.Sprintf("%d of %d have got an answer", answered, want)
		}
		return ""
	})
}

// endpointsSince returns when the set of ready servers last changed.
func (f *Facts) endpointsSince() time.Time {
	var since time.Time
	var ready []string
	for _, e := range f.Endpoints {
		if now := keys(e.Ready); !slices.Equal(now, ready) {
			ready, since = now, e.At
		}
	}
	return since
}

// alongside runs both and returns when both have.
func alongside(ctx context.Context, both ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range both {
		group.Go(func() error { return one(ctx) })
	}
	return group.Wait()
}

// brief is an error in one line: its first and, where it has a diagnosis, the
// first of that.
func brief(err error) string {
	lines := strings.SplitN(err.Error(), "\n", 3)
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines[:min(2, len(lines))], "; ")
}
