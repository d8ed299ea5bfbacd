package strategy_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// calls is the histogram of so many windows of 50 calls, all of them in 1 ms but for the
// slowest, in 2 ms.
func calls(t *testing.T, windows int) string {
	t.Helper()
	histogram := latency.New()
	for range windows {
		for range 49 {
			histogram.Record(time.Millisecond)
		}
		histogram.Record(2 * time.Millisecond)
	}
	encoded, err := histogram.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// inTurns is a strategy that was called in two turns of five seconds, the second
// with half as many calls, all of them in 1 ms but for the slowest, in 2 ms.
func inTurns(t *testing.T) *observe.Facts {
	t.Helper()
	f := following("envoy")
	f.Phases[strategy.Turns] = &observe.Phase{Begin: at(2), Change: at(2), End: at(20), Clients: clients, Servers: originals}
	encoded := calls(t, 1)
	for _, c := range f.Clients {
		for i := range c.Windows {
			c.Windows[i].LatencyHDR, c.Windows[i].Connections = encoded, 9
			if i >= 13 && i < 18 {
				c.Windows[i].Calls, c.Windows[i].Connections = 25, 2
			}
		}
	}
	memory := map[string]map[string]int64{"e1": {"envoy": 30}, "e2": {"envoy": 32}}
	for _, name := range clients {
		memory[name] = map[string]int64{"echo-client": 7}
	}
	for _, name := range originals {
		memory[name] = map[string]int64{"echo-server": 9}
	}
	second := time.Second
	taken := &strategy.TurnsTaken{}
	f.Phases[strategy.Turns].Evidence = taken
	taken.Turns = []strategy.Turn{
		{From: at(3), To: at(8), CPU: map[string]time.Duration{"client": second, "server": second / 2, "proxy": second / 4}, Memory: map[string]map[string]int64{"gone": {"envoy": 99}}},
		{From: at(13), To: at(18), CPU: map[string]time.Duration{"client": second, "server": second / 2, "proxy": second / 4}, Memory: memory},
	}
	f.Nodes = map[string]string{"c1": "n1", "c2": "n1", "c3": "n2", "s1": "n2", "s2": "n2", "s3": "n2"}
	taken.Handshakes = strategy.Handshakes{"s1": 3, "s2": 4, "s3": 3}
	restart, kill := *f.Phases[strategy.ServerLeaves], *f.Phases[strategy.Steady]
	f.Phases[strategy.RollingRestart], f.Phases[strategy.Kill] = &restart, &kill
	return f
}

// A cost is the processor time of as many calls as were really made, the proxies
// and connections of the last turn, and what failed by experiment: figures that
// were not measured are absent, and a strategy without a turn has none at all.
func TestCost(t *testing.T) {
	want := func() *report.Cost {
		return &report.Cost{
			Rate: 300,
			Turns: []report.Turn{ // 150 and 75 calls a second for 5 s
				{Rate: 150, P50Millis: 1, P99Millis: 2, LatencyHDR: calls(t, 15), CPU: map[string]float64{"client": 1e6 / 750, "server": .5e6 / 750, "proxy": .25e6 / 750}},
				{Rate: 75, P50Millis: 1, P99Millis: 2, LatencyHDR: calls(t, 15), CPU: map[string]float64{"client": 1e6 / 375, "server": .5e6 / 375, "proxy": .25e6 / 375}},
			},
			Proxies: report.Proxies{AppPods: 6, Pods: 2}, Encrypted: true,
			Figures: map[string]float64{report.Memory: 62. / (1 << 20) / 6, report.Connections: 2, report.OtherNode: 2. / 3},
			NewPods: &report.NewPods{Called: 9, Pairs: 9, SlowestSeconds: .2, WatchedSeconds: 13},
			Failed: map[string]report.Failed{
				strategy.ServerLeaves: {Calls: 2550}, strategy.RollingRestart: {Calls: 2550}, strategy.Kill: {Calls: 1500},
			},
			Change: report.Change{Code: "x/y"},
		}
	}
	for _, test := range []struct {
		name   string
		change func(*observe.Facts)
		want   func(*report.Cost)
	}{
		{name: "measured"},
		{name: "windows_that_a_turn_cuts_do_not_count", change: func(f *observe.Facts) {
			turns(f).Turns[0].From, turns(f).Turns[0].To = at(3.5), at(8.5) // still 5 s, of which 4 whole windows say 150 calls a second
			for _, c := range f.Clients {
				c.Windows[3].Calls, c.Windows[8].Calls = 9000, 9000
			}
		}, want: func(c *report.Cost) {
			c.Turns[0].LatencyHDR, c.Failed[strategy.Kill] = calls(t, 12), report.Failed{Calls: 1500 + 2*3*8950}
		}},
		{name: "calls_that_fail_are_calls", change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[4].Failures = map[string]int64{"Unavailable": 4}
		}, want: func(c *report.Cost) {
			c.Turns[0].Failed, c.Failed[strategy.Kill] = 4, report.Failed{Failed: 4, Calls: 1500}
		}},
		{name: "turn_without_an_answer", change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				for i := 3; i < 8; i++ {
					c.Windows[i].LatencyHDR = ""
				}
			}
		}, want: func(c *report.Cost) { c.Turns = c.Turns[1:] }},
		{name: "turn_without_a_window", change: func(f *observe.Facts) { turns(f).Turns[0].From, turns(f).Turns[0].To = at(900), at(905) }, want: func(c *report.Cost) { c.Turns = c.Turns[1:] }},
		{name: "plain_at_one_server", change: func(f *observe.Facts) { turns(f).Handshakes["s2"] = 0 }, want: func(c *report.Cost) { c.Encrypted = false }},
		{name: "handshakes_not_counted", change: func(f *observe.Facts) { turns(f).Handshakes = nil }, want: func(c *report.Cost) { c.Encrypted = false }},
		{name: "verified_by_the_clients", change: func(f *observe.Facts) {
			turns(f).Handshakes = nil
			for name, c := range f.Clients {
				c.Windows[0].Opened, c.Windows[0].Verified = 3, 3
				if name != "c3" {
					c.Windows[leftChange+1].Opened, c.Windows[leftChange+1].Verified = 3, 3
				}
			}
		}, want: func(c *report.Cost) { c.Figures[report.Handshakes] = 2 }},
		{name: "one_client_without_tls", change: func(f *observe.Facts) {
			turns(f).Handshakes = nil
			for name, c := range f.Clients {
				c.Windows[0].Opened = 3
				if name != "c3" {
					c.Windows[0].Verified = 3
				}
			}
		}, want: func(c *report.Cost) { c.Encrypted = false }},
		{name: "all_on_one_node", change: func(f *observe.Facts) {
			for pod := range f.Nodes {
				f.Nodes[pod] = "n1"
			}
		}, want: func(c *report.Cost) { c.Figures[report.OtherNode] = 0 }},
		{name: "nodes_not_known", change: func(f *observe.Facts) { clear(f.Nodes) }, want: func(c *report.Cost) { delete(c.Figures, report.OtherNode) }},
		{name: "steady_not_measured", change: func(f *observe.Facts) { f.Phases[strategy.Steady].NotMeasured = observe.Reason{Text: "no room"} }, want: func(c *report.Cost) { delete(c.Figures, report.OtherNode) }},
		{name: "new_pods_never_called", change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				for _, s := range added {
					delete(c.First, s)
				}
			}
		}, want: func(c *report.Cost) { c.NewPods = &report.NewPods{Pairs: 9, WatchedSeconds: 13} }},
		{name: "scale_out_not_measured", change: func(f *observe.Facts) { delete(f.Phases, strategy.ScaleOut) }, want: func(c *report.Cost) { c.NewPods = nil }},
		{name: "some_fail_and_some_are_late", change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[40].Failures = map[string]int64{"DeadlineExceeded": 2, "Unavailable": 1}
			f.Clients["c2"].Windows[40].Failures = map[string]int64{"DeadlineExceeded": 1}
		}, want: func(c *report.Cost) {
			c.Failed[strategy.ServerLeaves] = report.Failed{Failed: 4, Late: 3, Calls: 2550}
			c.Failed[strategy.RollingRestart] = report.Failed{Failed: 4, Late: 3, Calls: 2550}
		}},
		{name: "experiments_not_measured", change: func(f *observe.Facts) {
			delete(f.Phases, strategy.RollingRestart)
			f.Phases[strategy.Kill].NotMeasured = observe.Reason{Text: "no cgroups"}
		}, want: func(c *report.Cost) {
			delete(c.Failed, strategy.RollingRestart)
			delete(c.Failed, strategy.Kill)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, want := inTurns(t), want()
			if test.change != nil {
				test.change(f)
			}
			if test.want != nil {
				test.want(want)
			}
			got, err := strategy.Cost(f, report.Change{Code: "x/y"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Errorf("cost (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no_turn", func(t *testing.T) {
		f := inTurns(t)
		f.Phases[strategy.Turns].Evidence = nil
		if got, err := strategy.Cost(f, report.Change{}); got != nil || err != nil {
			t.Errorf("cost %+v, error %v, want none", got, err)
		}
	})
	t.Run("broken_histogram", func(t *testing.T) {
		f := inTurns(t)
		f.Clients["c1"].Windows[4].LatencyHDR = "nothing"
		if got, err := strategy.Cost(f, report.Change{}); err == nil || !strings.Contains(err.Error(), "window 5") {
			t.Errorf("cost %+v, error %v, want one that names the window", got, err)
		}
	})
}

// What is beside a client or a server costs each of their pods, what has a pod of
// its own does not; the memory of both is that of the proxies alone.
func TestProxies(t *testing.T) {
	for _, test := range []struct {
		name  string
		added map[string]map[string]int64 // to one client's and one server's pod
		want  report.Proxies
		bytes int64
	}{
		{name: "none", want: report.Proxies{AppPods: 2}},
		{
			name: "beside_both", added: map[string]map[string]int64{"c1": {"istio-proxy": 40}, "s1": {"istio-proxy": 50}},
			want: report.Proxies{AppPods: 2, Beside: 2}, bytes: 90,
		},
		{name: "beside_clients", added: map[string]map[string]int64{"c1": {"istio-proxy": 40}}, want: report.Proxies{AppPods: 2, Beside: 1}, bytes: 40},
		{name: "apart", added: map[string]map[string]int64{"e1": {"envoy": 30}, "e2": {"envoy": 31}}, want: report.Proxies{AppPods: 2, Pods: 2}, bytes: 61},
		{name: "apart_with_a_helper", added: map[string]map[string]int64{"l5d": {"l5d": 200, "kubectl": 20}}, want: report.Proxies{AppPods: 2, Pods: 1}, bytes: 220},
		{
			name: "both", added: map[string]map[string]int64{"c1": {"agent": 5}, "e1": {"envoy": 30}},
			want: report.Proxies{AppPods: 2, Beside: 1, Pods: 1}, bytes: 35,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			memory := map[string]map[string]int64{"c1": {"echo-client": 7}, "s1": {"echo-server": 9}}
			for pod, containers := range test.added {
				if memory[pod] == nil {
					memory[pod] = map[string]int64{}
				}
				maps.Copy(memory[pod], containers)
			}
			f, turn := newFacts("k8s-api", "x"), strategy.Turn{Memory: memory}
			if diff := cmp.Diff(test.want, strategy.Proxies(f, turn)); diff != "" {
				t.Errorf("proxies (-want +got):\n%s", diff)
			}
			if got, want := *strategy.AddedMemory(f, turn), float64(test.bytes)/(1<<20)/2; got != want {
				t.Errorf("%g MiB a pod, want %g", got, want)
			}
		})
	}
}
