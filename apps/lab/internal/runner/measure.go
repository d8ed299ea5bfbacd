package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// measure makes one experiment and those inside it. That it could not be
// measured is written down and does not stop the others; only the end of the
// run does.
func (a *Environment) measure(ctx context.Context, e Experiment) error {
	r := &report.Experiment{
		Name: e.Name, Strategy: a.Strategy.Name, Status: report.Measured,
		Steady: e.Steady, Change: e.Change, Started: time.Now(),
	}
	p := &observe.Phase{}
	a.experiments = append(a.experiments, r)
	defer a.journalTo(&r.Journal)()
	defer func() { r.Finished = time.Now() }()
	a.Record.Update(func(f *observe.Facts) { f.Phases[e.Name] = p })
	failed := func(err error) error {
		reason := reasonOf(err)
		r.Status, r.Reason = report.NotMeasured, reason.Text
		a.Note("not measured: %v", err)
		a.Record.Update(func(*observe.Facts) { p.NotMeasured = reason })
		_ = a.barriers.leave(ctx, e.Name) // it fails with ctx
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}

	if err := a.hold(ctx, e); err != nil {
		return failed(fmt.Errorf("no steady state: %w", err))
	}
	a.Record.Update(func(f *observe.Facts) { p.Begin, p.Clients, p.Servers = time.Now(), f.Running(), f.ReadyNow() })
	a.Note("steady: %d clients, %d servers ready", len(p.Clients), len(p.Servers))
	if e.Undo != nil {
		defer a.undo(ctx, e)
	}
	started := func() {}
	if e.StartsPods {
		var err error
		if started, err = a.shared.startPods(ctx); err != nil {
			return failed(err)
		}
		defer started()
	}
	for _, step := range []func(context.Context, *Environment, *observe.Phase) error{e.Act, e.Observe} {
		if step == nil {
			continue
		}
		a.Record.Update(func(*observe.Facts) {
			if p.Change.IsZero() {
				p.Change = time.Now()
			}
		})
		if err := step(ctx, a, p); err != nil {
			return failed(err)
		}
		started()
	}
	a.Record.Update(func(*observe.Facts) { p.End = time.Now() })
	if err := a.barriers.leave(ctx, e.Name); err != nil {
		return failed(err)
	}
	a.Note("observed for %s", Seconds(p.End.Sub(p.Change).Round(time.Millisecond)))
	for _, inner := range e.Inner {
		if err := a.measure(ctx, inner); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut writes down why an experiment is not made on this cluster.
func (a *Environment) leaveOut(e Experiment, why string) {
	now := time.Now()
	a.experiments = append(a.experiments, &report.Experiment{
		Name: e.Name, Strategy: a.Strategy.Name, Status: report.NotMeasured, Reason: why,
		Steady: e.Steady, Change: e.Change, Started: now, Finished: now,
	})
	a.Record.Update(func(f *observe.Facts) {
		f.Phases[e.Name] = &observe.Phase{NotMeasured: observe.Reason{Kind: observe.OutOfReach, Text: why}}
	})
}

// hold brings about the steady state, and where it must be at rest waits for the
// others' and checks its own again.
func (a *Environment) hold(ctx context.Context, e Experiment) error {
	if err := e.Hold(ctx, a); err != nil || !e.AtRest {
		return err
	}
	if err := a.Meet(ctx, e.Name); err != nil {
		return err
	}
	return e.Hold(ctx, a)
}

// Meet waits until the other strategies have come as far in an experiment that
// is made at rest.
func (a *Environment) Meet(ctx context.Context, experiment string) error {
	return a.barriers.meet(ctx, experiment)
}

// Alone runs do while no other strategy does something alone.
func (a *Environment) Alone(ctx context.Context, do func() error) error {
	return a.shared.alone(ctx, do)
}

// undo takes the change back, with time of its own. A run that was interrupted
// deletes the namespace, which undoes everything.
func (a *Environment) undo(ctx context.Context, e Experiment) {
	if ctx.Err() != nil {
		a.Note("undone with the namespace: %v", context.Cause(ctx))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	a.Note("undo %s", e.Name)
	if err := e.Undo(ctx, a); err != nil {
		a.Note("not undone: %v", err)
	}
}

// finish adds what the experiments asserted, when all logs are read.
func (a *Environment) finish(all []Experiment) {
	for _, e := range all {
		if i := slices.IndexFunc(a.experiments, func(r *report.Experiment) bool { return r.Name == e.Name }); i >= 0 && e.Assert != nil && a.experiments[i].Status == report.Measured {
			a.experiments[i].Findings = e.Assert(a.facts, a.facts.Phases[e.Name])
		}
		a.finish(e.Inner)
	}
}

// Replicas is the number of servers that the overlay has.
func (a *Environment) Replicas() int { return int(*a.servers.Spec.Replicas) }

// started waits until all servers of the overlay are ready for the first time:
// longer than ever after where their nodes may still pull images.
func (a *Environment) started(ctx context.Context, limit time.Duration) error {
	err := a.readyIn(ctx, SteadyTimeout, a.Replicas())
	if err == nil || ctx.Err() != nil || limit <= SteadyTimeout {
		return err
	}
	onNodes := false
	a.Record.Look(func(f *observe.Facts) {
		for _, p := range f.Pods {
			onNodes = onNodes || p.Spec.NodeName != ""
		}
	})
	if !onNodes {
		return err
	}
	a.Note("wait longer: nodes may still pull images")
	return a.readyIn(ctx, limit-SteadyTimeout, a.Replicas())
}

// ServersReady waits until that many servers are ready, no more and no fewer.
func (a *Environment) ServersReady(ctx context.Context, n int) error {
	return a.readyIn(ctx, SteadyTimeout, n)
}

func (a *Environment) readyIn(ctx context.Context, limit time.Duration, n int) error {
	return a.Await(ctx, limit, fmt.Sprintf("%d ready servers", n), func(f *observe.Facts) string {
		if ready := len(f.ReadyNow()); ready != n {
			return fmt.Sprintf("%d of %d are ready", ready, n)
		}
		return ""
	})
}

// Steady waits until n servers are ready and every client's last two windows are
// free of failures and, where asked, name every server that they should.
func (a *Environment) Steady(ctx context.Context, n int, everyServer bool) error {
	if err := a.ServersReady(ctx, n); err != nil {
		return err
	}
	if everyServer && a.Strategy.ByName {
		if err := a.FreshClients(ctx); err != nil {
			return err
		}
	}
	since := time.Now()
	return a.Await(ctx, SteadyTimeout, "a steady state", func(f *observe.Facts) string {
		if got, want := len(f.Running()), int(*a.Clients.Spec.Replicas); got != want {
			return fmt.Sprintf("%d of %d clients run", got, want)
		}
		for _, name := range f.Running() {
			last := f.Clients[name].Between(since.Add(-time.Second), time.Now())
			if len(last) < 2 {
				return name + " has not logged two windows"
			}
			last = last[len(last)-2:]
			if n := observe.Failures(last); n > 0 {
				return fmt.Sprintf("%d calls of %s failed", n, name)
			}
			if missing := Without(f.ReadyNow(), observe.Calls(last).Servers()); everyServer && a.Strategy.EveryServer && len(missing) > 0 {
				return fmt.Sprintf("%s does not call %s", name, strings.Join(missing, ", "))
			}
		}
		return ""
	})
}

// FreshClients makes sure that every client started when DNS already knew the
// servers that are ready now: it restarts those that did not, once DNS does.
func (a *Environment) FreshClients(ctx context.Context) error {
	var known time.Time
	fresh := true
	a.Record.Look(func(f *observe.Facts) {
		known = f.EndpointsSince().Add(f.DNS.MaxStaleness())
		for _, name := range f.Running() {
			if c := f.Clients[name]; c.Started.Before(known) {
				fresh = false
			}
		}
	})
	if fresh {
		return nil
	}
	if wait := time.Until(known); wait > 0 {
		a.Note("wait %s until DNS cannot trail", Seconds(wait.Round(10*time.Millisecond)))
		if err := poll.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	a.Note("restart the clients: delete their pods")
	restarted := time.Now()
	if err := a.Kube.Typed.CoreV1().Pods(a.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: observe.NameLabel + "=" + a.Client}); err != nil {
		return fmt.Errorf("restarting the clients: %w", err)
	}
	return a.Await(ctx, SteadyTimeout, "the restarted clients", func(f *observe.Facts) string {
		answered := 0
		for _, name := range f.Running() {
			c, p := f.Clients[name], f.Pods[name]
			if p != nil && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && len(c.First) > 0 && c.Started.After(restarted) {
				answered++
			}
		}
		if want := int(*a.Clients.Spec.Replicas); answered != want || len(f.Running()) != want {
			return fmt.Sprintf("%d of %d have got an answer", answered, want)
		}
		return ""
	})
}

// reasonOf turns an error into a reason. One that was an error is kept.
func reasonOf(err error) observe.Reason {
	reason, ok := errors.AsType[observe.Reason](err)
	if !ok || reason.Text != err.Error() {
		reason.Text = brief(err)
	}
	return reason
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
