package strategy_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// counted is a cluster that says, each time it is asked, what containers have
// used, and notes whom it kills.
type counted struct {
	cluster.Cluster
	used   []map[string]cluster.Usage // the last one again and again
	err    error
	killed [][2]string
	asked  []types.UID
}

func (c *counted) Usage(_ context.Context, pods ...types.UID) (map[string]cluster.Usage, error) {
	c.asked = pods
	if c.err != nil {
		return nil, c.err
	}
	now := c.used[0]
	if len(c.used) > 1 {
		c.used = c.used[1:]
	}
	return now, nil
}

func (c *counted) Kill(_ context.Context, pod types.UID, container string) error {
	c.killed = append(c.killed, [2]string{string(pod), container})
	return c.err
}

// podOf is a pod that runs those containers, each with the ID pod/container. The
// first is an init container, as a native sidecar is, where there are more.
func podOf(name, app string, containers ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{"app.kubernetes.io/name": app}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for i, c := range containers {
		status := corev1.ContainerStatus{Name: c, ContainerID: "containerd://" + name + "/" + c}
		if i == 0 && len(containers) > 1 {
			p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, status)
			continue
		}
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, status)
	}
	return p
}

// A turn is what containers used between its two ends, by the part that they
// play, and what they hold at its end. What began or ended meanwhile has no
// processor time that could be told.
func TestTurn(t *testing.T) {
	usage := func(millis, memory int64) cluster.Usage {
		return cluster.Usage{CPU: time.Duration(millis) * time.Millisecond, WorkingSet: memory}
	}
	pods := []*corev1.Pod{
		podOf("c1", "echo-client", "istio-proxy", "echo-client"), podOf("s1", "echo-server", "echo-server"), podOf("s2", "echo-server", "echo-server"),
		podOf("e1", "envoy", "envoy"), podOf("late", "echo-server", "echo-server"), podOf("gone", "echo-server", "echo-server"),
	}
	pods = append(pods, podOf("waiting", "echo-server"))
	pods[6].Status.Phase = corev1.PodPending
	before := map[string]cluster.Usage{
		"c1/echo-client": usage(100, 1), "c1/istio-proxy": usage(10, 1), "s1/echo-server": usage(50, 1), "s2/echo-server": usage(60, 1),
		"e1/envoy": usage(1000, 1), "gone/echo-server": usage(7, 1), "c1/pause": usage(1, 1),
	}
	after := map[string]cluster.Usage{
		"c1/echo-client": usage(400, 11), "c1/istio-proxy": usage(30, 12), "s1/echo-server": usage(90, 13), "s2/echo-server": usage(70, 14),
		"e1/envoy": usage(1200, 15), "late/echo-server": usage(900, 16), "c1/pause": usage(1, 1),
	}
	want := &strategy.Turn{
		CPU: map[string]time.Duration{"client": 300 * time.Millisecond, "server": 50 * time.Millisecond, "proxy": 220 * time.Millisecond},
		Memory: map[string]map[string]int64{
			"c1": {"echo-client": 11, "istio-proxy": 12}, "s1": {"echo-server": 13}, "s2": {"echo-server": 14}, "e1": {"envoy": 15}, "late": {"echo-server": 16},
		},
	}
	synctest.Test(t, func(t *testing.T) {
		on := &counted{used: []map[string]cluster.Usage{before, after}}
		want.From = time.Now().Add(strategy.TurnSettle)
		want.To = want.From.Add(strategy.TurnTime)
		got, err := strategy.MeasureTurn(t.Context(), strategy.EnvironmentOf(on, newFacts("istio", "x"), pods...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("turn (-want +got):\n%s", diff)
		}
		if len(on.asked) != 6 {
			t.Errorf("asked for %d pods, want the 6 that run", len(on.asked))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if got, err := strategy.MeasureTurn(t.Context(), strategy.EnvironmentOf(&counted{err: errors.ErrUnsupported}, newFacts("istio", "x"), pods...)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("turn %+v, error %v, want %v", got, err, errors.ErrUnsupported)
		}
	})
}

// What runs in the pods is listed by pod, or it is said why not; any other error
// is one.
func TestListProcesses(t *testing.T) {
	broken := errors.New("broken")
	used := map[string]cluster.Usage{
		"c1/istio-proxy": {Commands: []string{"pilot-agent"}}, "c1/echo-client": {Commands: []string{"echo-client-xds"}}, "s1/echo-server": {Commands: []string{"echo-server"}},
	}
	for _, test := range []struct {
		name    string
		err     error
		want    *strategy.Listed
		wantErr error
	}{
		{name: "listed", want: &strategy.Listed{Processes: map[string][]string{"c1": {"pilot-agent", "echo-client-xds"}, "s1": {"echo-server"}}}},
		{name: "out_of_reach", err: errors.ErrUnsupported, want: &strategy.Listed{Unknown: observe.Reason{Kind: observe.OutOfReach, Text: "the processes of this cluster's pods are out of reach"}}},
		{name: "broken", err: broken, wantErr: broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFacts("xds", "x")
			on := &counted{used: []map[string]cluster.Usage{used}, err: test.err}
			a := strategy.EnvironmentOf(on, f, podOf("c1", "echo-client", "istio-proxy", "echo-client"), podOf("s1", "echo-server", "echo-server"))
			p := &observe.Phase{}
			f.Phases[strategy.Processes] = p
			if err := strategy.ListProcesses(t.Context(), a, p); !errors.Is(err, test.wantErr) {
				t.Fatalf("error %v, want %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, listed(f)); diff != "" {
				t.Errorf("processes (-want +got):\n%s", diff)
			}
		})
	}
}

// dial is a client that calls at a rate, or does not answer who sets it.
type dial struct {
	echopb.ClientControlServiceClient
	rate float64
	err  error
}

func (d *dial) SetRate(ctx context.Context, in *echopb.SetRateRequest, _ ...grpc.CallOption) (*echopb.SetRateResponse, error) {
	if err := errors.Join(d.err, ctx.Err()); err != nil {
		return nil, err
	}
	was := d.rate
	d.rate = in.GetCallsPerSecond()
	return &echopb.SetRateResponse{CallsPerSecond: was}, nil
}

// Clients that were paused call again as before, each at its own rate, also where
// not all could be paused and after the run was interrupted.
func TestSetRates(t *testing.T) {
	lost := errors.New("connection lost")
	for _, test := range []struct {
		name           string
		clients        []*dial
		paused         []float64
		wantErr        error
		loses          int // the client that is lost meanwhile, from 1
		resumed        []float64
		wantResumedErr error
	}{
		{name: "all", clients: []*dial{{rate: 50}, {rate: 20}}, paused: []float64{0, 0}, resumed: []float64{50, 20}},
		{name: "one_does_not_answer", clients: []*dial{{rate: 50}, {rate: 20, err: lost}, {rate: 30}}, paused: []float64{0, 20, 30}, wantErr: lost, resumed: []float64{50, 20, 30}},
		{name: "one_is_lost_meanwhile", clients: []*dial{{rate: 50}, {rate: 20}}, paused: []float64{0, 0}, loses: 1, resumed: []float64{0, 20}, wantResumedErr: lost},
		{name: "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all []echopb.ClientControlServiceClient
			for _, c := range test.clients {
				all = append(all, c)
			}
			rates := func() (rates []float64) {
				for _, c := range test.clients {
					rates = append(rates, c.rate)
				}
				return rates
			}
			ctx, cancel := context.WithCancel(t.Context())
			resume, err := strategy.SetRates(ctx, all, 0)
			if !errors.Is(err, test.wantErr) {
				t.Errorf("pausing gives %v, want %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.paused, rates()); diff != "" {
				t.Errorf("rates in the pause (-want +got):\n%s", diff)
			}
			cancel()
			if test.loses > 0 {
				test.clients[test.loses-1].err = lost
			}
			if err := resume(); !errors.Is(err, test.wantResumedErr) {
				t.Errorf("resuming gives %v, want %v", err, test.wantResumedErr)
			}
			if diff := cmp.Diff(test.resumed, rates()); diff != "" {
				t.Errorf("rates afterwards (-want +got):\n%s", diff)
			}
		})
	}
}

// The busiest server is the one that answered most just now, of those that are
// ready and may be taken; before any answer it is any of them.
func TestBusiest(t *testing.T) {
	for _, test := range []struct {
		name   string
		among  []string
		change func(*observe.Facts, *observe.Phase)
		want   string
	}{
		{name: "most_calls", among: originals, want: "s2"},
		{name: "not_among", among: []string{"s1", "s3"}, want: "s3"},
		{name: "not_ready", among: originals, change: func(_ *observe.Facts, p *observe.Phase) { p.Servers = []string{"s1", "s3"} }, want: "s3"},
		{name: "calls_of_another_time", among: originals, change: func(f *observe.Facts, _ *observe.Phase) {
			f.Clients["c1"].Windows[10].Servers = map[string]int64{"s1": 9000}
		}, want: "s2"},
		{name: "client_that_has_not_called", among: originals, change: func(f *observe.Facts, _ *observe.Phase) { f.Clients["c2"].Windows = nil }, want: "s2"},
		{name: "client_that_is_not_counted", among: originals, change: func(f *observe.Facts, p *observe.Phase) {
			p.Clients = clients[:1]
			f.Clients["c3"].Windows[leftEnd-1].Servers = map[string]int64{"s1": 9000}
		}, want: "s2"},
		{name: "nobody_called", among: originals, change: func(f *observe.Facts, _ *observe.Phase) {
			for _, c := range f.Clients {
				c.Windows = nil
			}
		}, want: "s1"},
		{name: "nobody_is_ready", among: originals, change: func(_ *observe.Facts, p *observe.Phase) { p.Servers = nil }},
		{name: "nobody_may_be_taken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := scene("l4", func(int, int) []string { return []string{"s2", "s3", "s2", "s1", "s3", "s2"} })
			p := &observe.Phase{Clients: clients, Servers: originals}
			if test.change != nil {
				test.change(f, p)
			}
			if got := strategy.Busiest(f, p, test.among); got != test.want {
				t.Errorf("the busiest is %q, want %q", got, test.want)
			}
		})
	}
}

// The process that is killed is the busiest server's own, of its pod as it is
// now; without a server that runs nobody is.
func TestKillBusiest(t *testing.T) {
	broken := errors.New("no such cgroup")
	running := map[string]*corev1.Pod{"s1": podOf("s1", "echo-server", "echo-server"), "s2": podOf("s2", "echo-server", "istio-proxy", "echo-server")}
	for _, test := range []struct {
		name   string
		change func(pods map[string]*corev1.Pod, p *observe.Phase)
		err    error
		want   [][2]string
		fails  bool
	}{
		{name: "killed", want: [][2]string{{"uid-s2", "s2/echo-server"}}},
		{name: "cannot_be_killed", err: broken, want: [][2]string{{"uid-s2", "s2/echo-server"}}, fails: true},
		{name: "none_is_ready", change: func(_ map[string]*corev1.Pod, p *observe.Phase) { p.Servers = nil }, fails: true},
		{name: "its_pod_is_gone", change: func(pods map[string]*corev1.Pod, _ *observe.Phase) { delete(pods, "s2") }, fails: true},
		{name: "it_has_not_started", change: func(pods map[string]*corev1.Pod, _ *observe.Phase) {
			pods["s2"] = podOf("s2", "echo-server", "istio-proxy", "another")
		}, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := scene("l4", func(int, int) []string { return []string{"s2"} })
			pods, p, on := maps.Clone(running), &observe.Phase{Clients: clients, Servers: originals}, &counted{err: test.err}
			if test.change != nil {
				test.change(pods, p)
			}
			var all []*corev1.Pod
			for _, pod := range pods {
				all = append(all, pod)
			}
			err := strategy.KillBusiest(t.Context(), strategy.EnvironmentOf(on, f, all...), p)
			if (err != nil) != test.fails || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("error %v, want one: %v", err, test.fails)
			}
			if diff := cmp.Diff(test.want, on.killed); diff != "" {
				t.Errorf("killed (-want +got):\n%s", diff)
			}
		})
	}
}
