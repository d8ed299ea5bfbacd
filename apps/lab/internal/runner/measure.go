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
func (env *Environment) measure(ctx context.Context, e Experiment) error {
	r := &report.Experiment{
		Name: e.Name, Strategy: env.Strategy.Name, Status: report.Measured,
		Steady: e.Steady.Text, Change: e.Change, Started: time.Now(),
	}
	p := &observe.Phase{}
	env.experiments = append(env.experiments, r)
	defer env.journalTo(&r.Journal)()
	defer func() { r.Finished = time.Now() }()
	env.Record.Update(func(f *observe.Facts) { f.Phases[e.Name] = p })
	failed := func(err error) error {
		reason := reasonOf(err)
		r.Status, r.Reason = report.NotMeasured, reason.Text
		env.Note("not measured: %v", err)
		env.Record.Update(func(*observe.Facts) { p.NotMeasured = reason })
		_ = env.barriers.leave(ctx, e.Name) // it fails with ctx
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}

	if err := env.hold(ctx, e); err != nil {
		return failed(fmt.Errorf("no steady state: %w", err))
	}
	env.Record.Update(func(f *observe.Facts) { p.Begin, p.Clients, p.Servers = time.Now(), f.Running(), f.ReadyNow() })
	env.Note("steady: %d clients, %d servers ready", len(p.Clients), len(p.Servers))
	if e.Undo != nil {
		defer env.undo(ctx, e)
	}
	started := func() {}
	if e.StartsPods {
		var err error
		if started, err = env.shared.startPods(ctx); err != nil {
			return failed(err)
		}
		defer started()
	}
	for _, step := range []func(context.Context, *Environment, *observe.Phase) error{e.Act, e.Observe} {
		if step == nil {
			continue
		}
		env.Record.Update(func(*observe.Facts) {
			if p.Change.IsZero() {
				p.Change = time.Now()
			}
		})
		if err := step(ctx, env, p); err != nil {
			return failed(err)
		}
		started()
	}
	env.Record.Update(func(*observe.Facts) { p.End = time.Now() })
	if err := env.barriers.leave(ctx, e.Name); err != nil {
		return failed(err)
	}
	env.Note("observed for %s", Seconds(p.End.Sub(p.Change).Round(time.Millisecond)))
	for _, inner := range e.Inner {
		if err := env.measure(ctx, inner); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut writes down why an experiment is not made.
func (env *Environment) leaveOut(e Experiment, why observe.Reason) {
	now := time.Now()
	env.experiments = append(env.experiments, &report.Experiment{
		Name: e.Name, Strategy: env.Strategy.Name, Status: report.NotMeasured, Reason: why.Text,
		Steady: e.Steady.Text, Change: e.Change, Started: now, Finished: now,
	})
	env.Record.Update(func(f *observe.Facts) {
		f.Phases[e.Name] = &observe.Phase{NotMeasured: why}
	})
}

// hold brings about the steady state, and where it must be at rest waits for the
// others' and checks its own again.
func (env *Environment) hold(ctx context.Context, e Experiment) error {
	if err := e.Steady.Hold(ctx, env); err != nil || !e.AtRest {
		return err
	}
	if err := env.Meet(ctx, e.Name); err != nil {
		return err
	}
	return e.Steady.Hold(ctx, env)
}

// Meet waits until the other strategies have come as far in an experiment that
// is made at rest.
func (env *Environment) Meet(ctx context.Context, experiment string) error {
	return env.barriers.meet(ctx, experiment)
}

// Alone runs do while no other strategy does something alone.
func (env *Environment) Alone(ctx context.Context, do func() error) error {
	return env.shared.alone(ctx, do)
}

// undo takes the change back, with time of its own. A run that was interrupted
// deletes the namespace, which undoes everything in it.
func (env *Environment) undo(ctx context.Context, e Experiment) {
	if ctx.Err() != nil && !e.Alone {
		env.Note("undone with the namespace: %v", context.Cause(ctx))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout+env.Settling)
	defer cancel()
	env.Note("undo %s", e.Name)
	if err := e.Undo(ctx, env); err != nil {
		env.Note("not undone: %v", err)
	}
}

// finish adds what the experiments asserted, when all logs are read.
func (env *Environment) finish(all []Experiment) {
	for _, e := range all {
		if i := slices.IndexFunc(env.experiments, func(r *report.Experiment) bool { return r.Name == e.Name }); i >= 0 && e.Assert != nil && env.experiments[i].Status == report.Measured {
			env.experiments[i].Findings = e.Assert(env.facts, env.facts.Phases[e.Name])
		}
		env.finish(e.Inner)
	}
}

// Replicas is the number of servers that the overlay has.
func (env *Environment) Replicas() int { return int(*env.Servers.Spec.Replicas) }

// started waits until all servers of the overlay are ready for the first time:
// longer than ever after where their nodes may still pull images.
func (env *Environment) started(ctx context.Context, limit time.Duration) error {
	err := env.readyIn(ctx, SteadyTimeout, env.Replicas())
	if err == nil || ctx.Err() != nil || limit <= SteadyTimeout {
		return err
	}
	onNodes := false
	env.Record.Look(func(f *observe.Facts) {
		for _, p := range f.Pods {
			onNodes = onNodes || p.Spec.NodeName != ""
		}
	})
	if !onNodes {
		return err
	}
	env.Note("wait longer: nodes may still pull images")
	return env.readyIn(ctx, limit-SteadyTimeout, env.Replicas())
}

// ServersReady waits until that many servers are ready, no more and no fewer.
func (env *Environment) ServersReady(ctx context.Context, n int) error {
	return env.readyIn(ctx, SteadyTimeout, n)
}

func (env *Environment) readyIn(ctx context.Context, limit time.Duration, n int) error {
	return env.Await(ctx, limit, fmt.Sprintf("%d ready servers", n), func(f *observe.Facts) string {
		if ready := len(f.ReadyNow()); ready != n {
			return fmt.Sprintf("%d of %d are ready", ready, n)
		}
		return ""
	})
}

// Steady waits until n servers are ready and every client's last two windows are
// free of failures and, where asked, name every server that they should.
func (env *Environment) Steady(ctx context.Context, n int, everyServer bool) error {
	if err := env.ServersReady(ctx, n); err != nil {
		return err
	}
	if everyServer && env.Strategy.ByName {
		if err := env.FreshClients(ctx); err != nil {
			return err
		}
	}
	since := time.Now()
	return env.Await(ctx, SteadyTimeout, "a steady state", func(f *observe.Facts) string {
		if got, want := len(f.Running()), int(*env.Clients.Spec.Replicas); got != want {
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
			if missing := Without(f.ReadyNow(), observe.Calls(last).Servers()); everyServer && env.Strategy.EveryServer && len(missing) > 0 {
				return fmt.Sprintf("%s does not call %s", name, strings.Join(missing, ", "))
			}
		}
		return ""
	})
}

// FreshClients makes sure that every client started when DNS already knew the
// servers that are ready now: it restarts those that did not, once DNS does.
func (env *Environment) FreshClients(ctx context.Context) error {
	var known time.Time
	fresh := true
	env.Record.Look(func(f *observe.Facts) {
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
		env.Note("wait %s until DNS cannot trail", Seconds(wait.Round(10*time.Millisecond)))
		if err := poll.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return env.RestartClients(ctx)
}

// RestartClients deletes the clients' pods, and waits until those that follow have got
// answers, and have settled.
func (env *Environment) RestartClients(ctx context.Context) error {
	env.Note("restart the clients: delete their pods")
	restarted := time.Now()
	if err := env.Kube.Typed.CoreV1().Pods(env.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: observe.NameLabel + "=" + env.Client}); err != nil {
		return fmt.Errorf("restarting the clients: %w", err)
	}
	if err := env.Await(ctx, SteadyTimeout, "the restarted clients", func(f *observe.Facts) string {
		answered := 0
		for _, name := range f.Running() {
			c, p := f.Clients[name], f.Pods[name]
			if p != nil && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && len(c.First) > 0 && c.Started.After(restarted) {
				answered++
			}
		}
		if want := int(*env.Clients.Spec.Replicas); answered != want || len(f.Running()) != want {
			return fmt.Sprintf("%d of %d have got an answer", answered, want)
		}
		return ""
	}); err != nil {
		return err
	}
	return poll.Sleep(ctx, env.Settling)
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
