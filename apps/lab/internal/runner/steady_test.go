package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

func replicas(n int32) *appsv1.Deployment {
	return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &n}}
}

// environment is one with two servers and one client, of which nothing was seen
// yet. The fake client stands in for an API server.
func environment(s runner.Strategy) (*runner.Environment, *fake.Clientset) {
	api := fake.NewClientset()
	facts := observe.NewFacts(observe.Subject{Strategy: s.Name, Namespace: "x", ByName: s.ByName, DNS: observe.DNS{TTL: 5 * time.Second}})
	return runner.NewEnvironment(s, nil, &kube.Client{Typed: api}, facts).Of(replicas(2), replicas(1)), api
}

// ready lets a watch say which servers are.
func ready(env *runner.Environment, servers ...string) {
	event := observe.EndpointEvent{At: time.Now(), Ready: map[string]string{}}
	for _, s := range servers {
		event.Ready[s] = "10.0.0.1"
	}
	env.Record.Update(func(f *observe.Facts) { f.Endpoints = append(f.Endpoints, event) })
}

// call lets a client log a window of a second each second, in which those servers
// answered, or in which a call failed if there is none.
func call(ctx context.Context, env *runner.Environment, client string, servers func(second int) []string) {
	c := &observe.Client{Started: time.Now(), First: map[string]time.Time{}}
	env.Record.Update(func(f *observe.Facts) { f.Clients[client] = c })
	for second := 0; poll.Sleep(ctx, time.Second) == nil; second++ {
		w := calllog.Window{Start: time.Now().Add(-time.Second), End: time.Now(), Calls: 1, Servers: map[string]int64{}}
		for _, s := range servers(second) {
			w.Servers[s] = 1
		}
		if len(w.Servers) == 0 {
			w.Failures = map[string]int64{"Unavailable": 1}
		}
		env.Record.Update(func(*observe.Facts) {
			c.Windows = append(c.Windows, w)
			for s := range w.Servers {
				c.First[s] = time.Now()
			}
		})
	}
}

// A steady state holds when all servers are ready and the client's last two
// windows show what they should, and not before. What is missing after a minute
// is in the error.
func TestSteady(t *testing.T) {
	both := func(int) []string { return []string{"s1", "s2"} }
	one := func(int) []string { return []string{"s1"} }
	every := runner.Strategy{Name: "k8s-api", EveryServer: true}
	for _, test := range []struct {
		name     string
		strategy runner.Strategy
		any      bool // it is enough to call some servers
		ready    time.Duration
		servers  func(second int) []string // nil: the client does not run
		want     time.Duration
		wantErr  string // a part, "" for none
	}{
		{name: "two_windows", strategy: every, servers: both, want: 2 * time.Second},
		{name: "servers_that_become_ready", strategy: every, ready: 10500 * time.Millisecond, servers: both, want: 12 * time.Second},
		{name: "servers_that_do_not", strategy: every, ready: time.Hour, servers: both, want: time.Minute, wantErr: "2 ready servers: 0 of 2 are ready: not in 60 s"},
		{name: "calls_that_fail_at_first", strategy: every, servers: func(second int) []string {
			if second < 5 {
				return nil
			}
			return both(second)
		}, want: 7 * time.Second},
		{name: "calls_that_fail_now_and_then", strategy: every, servers: func(second int) []string {
			if second%2 == 0 {
				return nil
			}
			return both(second)
		}, want: time.Minute, wantErr: "1 calls of c1 failed"},
		{name: "servers_called_in_turns", strategy: every, servers: func(second int) []string { return both(second)[second%2 : second%2+1] }, want: 2 * time.Second},
		{name: "server_that_is_never_called", strategy: every, servers: one, want: time.Minute, wantErr: "c1 does not call s2"},
		{name: "server_that_need_not_be_called", strategy: every, any: true, servers: one, want: 2 * time.Second},
		{name: "strategy_that_stays_on_one_server", strategy: runner.Strategy{Name: "l4"}, servers: one, want: 2 * time.Second},
		{name: "no_client", strategy: every, want: time.Minute, wantErr: "0 of 1 clients run"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				env, _ := environment(test.strategy)
				if test.servers != nil {
					go call(ctx, env, "c1", test.servers)
				}
				go func() {
					if poll.Sleep(ctx, test.ready) == nil {
						ready(env, "s1", "s2")
					}
				}()
				begin := time.Now()
				err := env.Steady(ctx, 2, !test.any)
				if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("error %v, want %q", err, test.wantErr)
				}
				if took := time.Since(begin); took != test.want {
					t.Errorf("took %s, want %s", took, test.want)
				}
			})
		})
	}
}

// Where clients learn of servers by name, those that started before DNS knew all
// servers are restarted, once DNS cannot lag behind any more.
func TestFreshClients(t *testing.T) {
	for _, test := range []struct {
		name      string
		started   time.Duration // of the client, after the servers
		restarted time.Duration // 0 for not at all
	}{
		{name: "started_too_early", started: 2 * time.Second, restarted: 5 * time.Second},
		{name: "started_late_enough", started: 6 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				env, api := environment(runner.Strategy{Name: "dns", ByName: true})
				begin, restarted := time.Now(), time.Duration(0)
				ready(env, "s1", "s2")
				both := func(int) []string { return []string{"s1", "s2"} }
				api.PrependReactor("delete-collection", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
					restarted = time.Since(begin)
					if selector := action.(clienttesting.DeleteCollectionAction).GetListRestrictions().Labels.String(); selector != observe.NameLabel+"=echo-client" {
						t.Errorf("deleted pods of %q, want the clients'", selector)
					}
					env.Record.Update(func(f *observe.Facts) { f.Clients["c1"].Ended = true })
					go func() {
						_ = poll.Sleep(ctx, time.Second)
						env.Record.Update(func(f *observe.Facts) {
							f.Pods["c2"] = &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}
						})
						call(ctx, env, "c2", both)
					}()
					return true, nil, nil
				})
				time.Sleep(test.started)
				go call(ctx, env, "c1", both)
				synctest.Wait()
				if err := env.FreshClients(ctx); err != nil {
					t.Error(err)
				}
				if restarted != test.restarted {
					t.Errorf("restarted after %s, want %s", restarted, test.restarted)
				}
			})
		})
	}
}

// An overlay's first pods have longer only where nodes have them and may still
// pull images.
func TestStarted(t *testing.T) {
	for _, test := range []struct {
		name    string
		limit   time.Duration
		node    string
		ready   time.Duration
		want    time.Duration
		wantErr bool
	}{
		{name: "in_time", limit: 5 * time.Minute, node: "n1", ready: 10 * time.Second, want: 10 * time.Second},
		{name: "pulling", limit: 5 * time.Minute, node: "n1", ready: 2 * time.Minute, want: 2 * time.Minute},
		{name: "pulling_too_long", limit: 5 * time.Minute, node: "n1", ready: time.Hour, want: 5 * time.Minute, wantErr: true},
		{name: "on_no_node", limit: 5 * time.Minute, ready: 2 * time.Minute, want: time.Minute, wantErr: true},
		{name: "nothing_to_pull", node: "n1", ready: 2 * time.Minute, want: time.Minute, wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				env, _ := environment(runner.Strategy{Name: "l4"})
				env.Record.Update(func(f *observe.Facts) { f.Pods["s1"] = &corev1.Pod{Spec: corev1.PodSpec{NodeName: test.node}} })
				go func() {
					if poll.Sleep(ctx, test.ready) == nil {
						ready(env, "s1", "s2")
					}
				}()
				begin := time.Now()
				if err := env.Started(ctx, test.limit); (err != nil) != test.wantErr {
					t.Errorf("error %v, want one: %v", err, test.wantErr)
				}
				if took := time.Since(begin); took != test.want {
					t.Errorf("took %s, want %s", took, test.want)
				}
			})
		})
	}
}

// A wait that takes too long says what was missing, what the pods wait for and
// what the cluster warns of. The end of the run is no such wait.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, api := environment(runner.Strategy{Name: "l4"})
		waiting := corev1.ContainerStatus{Name: "echo-server", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}
		env.Record.Update(func(f *observe.Facts) {
			f.Pods["s1"] = &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting}}}
		})
		for _, kind := range []string{corev1.EventTypeWarning, corev1.EventTypeNormal} {
			if err := api.Tracker().Add(&corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(kind), Namespace: "x"}, Type: kind, Reason: kind + "Reason", Message: "of it",
				InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "s1"},
			}); err != nil {
				t.Fatal(err)
			}
		}
		missing := func(*observe.Facts) string { return "one is missing" }
		const want = "waiting for both: one is missing: not in 3 s\n  pod s1: echo-server: ErrImagePull\n  event of Pod s1: WarningReason of it"
		if err := env.Await(t.Context(), 3*time.Second, "both", missing); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, interrupted)
		defer cancel()
		if err := env.Await(ctx, 3*time.Second, "both", missing); !errors.Is(err, interrupted) || strings.Contains(err.Error(), "ErrImagePull") {
			t.Errorf("error %v, want %v without a diagnosis", err, interrupted)
		}
	})
}

// A pod that waits for a Secret which is not there is told by the event that names the
// Secret: that comes before what the pod's status says, and so is in the reason of a claim.
func TestAwaitSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, api := environment(runner.Strategy{Name: "k8s-api-tls"})
		waiting := corev1.ContainerStatus{Name: "echo-server", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
		env.Record.Update(func(f *observe.Facts) {
			f.Pods["s1"] = &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting}}}
		})
		if err := api.Tracker().Add(&corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "x"}, Type: corev1.EventTypeWarning, Reason: "FailedMount",
			Message: `MountVolume.SetUp failed for volume "tls" : secret "echo-tls" not found`, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "s1"},
		}); err != nil {
			t.Fatal(err)
		}
		err := env.Await(t.Context(), 3*time.Second, "it", func(*observe.Facts) string { return "none is ready" })
		const want = `waiting for it: none is ready: not in 3 s; event of Pod s1: FailedMount MountVolume.SetUp failed for volume "tls" : secret "echo-tls" not found`
		if err == nil || runner.Brief(err) != want {
			t.Errorf("reason %q, want %q", runner.Brief(err), want)
		}
	})
}

// Of many events the newest are told. Resource versions are numbers, not texts.
func TestAwaitNewestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, api := environment(runner.Strategy{Name: "l4"})
		for version := 9995; version <= 10000; version++ {
			if err := api.Tracker().Add(&corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("e", version), Namespace: "x", ResourceVersion: fmt.Sprint(version)},
				Type:       corev1.EventTypeWarning, Reason: fmt.Sprint("Reason", version), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "s1"},
			}); err != nil {
				t.Fatal(err)
			}
		}
		err := env.Await(t.Context(), time.Second, "it", func(*observe.Facts) string { return "none" })
		if err == nil || !strings.Contains(err.Error(), "Reason10000") || strings.Contains(err.Error(), "Reason9995") {
			t.Errorf("error %v, want the newest event, and not the oldest", err)
		}
	})
}

// An experiment that fails is written down and undone, unless nothing was changed
// yet, and the run goes on. The end of the run is what ends it.
func TestMeasure(t *testing.T) {
	broken, interrupted := errors.New("broken"), errors.New("interrupted")
	for _, test := range []struct {
		name    string
		fails   string // the step
		ends    string // the step in which the run is interrupted
		want    []string
		wantErr error
		reason  string
	}{
		{name: "measured", want: []string{"hold", "act", "observe", "inner", "undo"}},
		{name: "no_steady_state", fails: "hold", want: []string{"hold"}, reason: "no steady state: broken"},
		{name: "not_changed", fails: "act", want: []string{"hold", "act", "undo"}, reason: "broken"},
		{name: "not_observed", fails: "observe", want: []string{"hold", "act", "observe", "undo"}, reason: "broken"},
		{name: "inner_fails", fails: "inner", want: []string{"hold", "act", "observe", "inner", "undo"}},
		{name: "undo_fails", fails: "undo", want: []string{"hold", "act", "observe", "inner", "undo"}},
		{name: "run_interrupted", ends: "act", want: []string{"hold", "act"}, wantErr: interrupted, reason: "interrupted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				env, _ := environment(runner.Strategy{Name: "l4"})
				var got []string
				step := func(name string) error {
					got = append(got, name)
					switch name {
					case test.fails:
						return broken
					case test.ends:
						cancel(interrupted)
						return context.Cause(ctx)
					}
					return nil
				}
				act := func(name string) func(context.Context, *runner.Environment, *observe.Phase) error {
					return func(context.Context, *runner.Environment, *observe.Phase) error { return step(name) }
				}
				var phase *observe.Phase
				err := env.Measure(ctx, runner.Experiment{
					Name: "outer", Steady: runner.State{Hold: func(context.Context, *runner.Environment) error { return step("hold") }},
					Act: act("act"), Observe: act("observe"), Undo: func(context.Context, *runner.Environment) error { return step("undo") },
					Inner: []runner.Experiment{{Name: "inner", Steady: runner.State{Hold: func(context.Context, *runner.Environment) error { return nil }}, Act: act("inner")}},
				})
				if !errors.Is(err, test.wantErr) {
					t.Errorf("error %v, want %v", err, test.wantErr)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
				env.Record.Look(func(f *observe.Facts) { phase = f.Phases["outer"] })
				if phase.NotMeasured.Text != test.reason {
					t.Errorf("not measured because of %q, want %q", phase.NotMeasured.Text, test.reason)
				}
				if measured := fmt.Sprint(!phase.End.IsZero()); measured != fmt.Sprint(test.reason == "") {
					t.Errorf("its observation has ended: %s, want %v", measured, test.reason == "")
				}
			})
		})
	}
}
