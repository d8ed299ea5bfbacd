package experiment_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// inTurns is a strategy that was called in two turns of five seconds, the second
// with half as many calls, all of them in 1 ms but for the slowest, in 2 ms.
func inTurns(t *testing.T) *experiment.Facts {
	t.Helper()
	f := following("envoy")
	f.Phases[experiment.Turns] = &experiment.Phase{Begin: at(2), Change: at(2), End: at(20), Clients: clients, Servers: originals}
	histogram := latency.New()
	for range 49 {
		histogram.Record(time.Millisecond)
	}
	histogram.Record(2 * time.Millisecond)
	encoded, err := histogram.Encode()
	if err != nil {
		t.Fatal(err)
	}
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
	f.Turns = []experiment.Turn{
		{From: at(3), To: at(8), CPU: map[string]time.Duration{"client": second, "server": second / 2, "proxy": second / 4}, Memory: map[string]map[string]int64{"gone": {"envoy": 99}}},
		{From: at(13), To: at(18), CPU: map[string]time.Duration{"client": second, "server": second / 2, "proxy": second / 4}, Memory: memory},
	}
	f.Nodes = map[string]string{"c1": "n1", "c2": "n1", "c3": "n2", "s1": "n2", "s2": "n2", "s3": "n2"}
	f.Handshakes = map[string]int64{"s1": 3, "s2": 4, "s3": 3}
	restart, kill := *f.Phases[experiment.ServerLeaves], *f.Phases[experiment.Steady]
	f.Phases[experiment.RollingRestart], f.Phases[experiment.Kill] = &restart, &kill
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
				{Rate: 150, P50Millis: 1, P99Millis: 2, CPU: map[string]float64{"client": 1e6 / 750, "server": .5e6 / 750, "proxy": .25e6 / 750}},
				{Rate: 75, P50Millis: 1, P99Millis: 2, CPU: map[string]float64{"client": 1e6 / 375, "server": .5e6 / 375, "proxy": .25e6 / 375}},
			},
			Proxies: report.Proxies{AppPods: 6, Pods: 2, MemoryBytes: 62}, Connections: 2, OtherNode: new(2. / 3), Encrypted: true,
			NewPods: &report.NewPods{Called: 9, Pairs: 9, SlowestSeconds: .2, WatchedSeconds: 13},
			Failed: map[string]report.Failed{
				experiment.ServerLeaves: {Calls: 2550}, experiment.RollingRestart: {Calls: 2550}, experiment.Kill: {Calls: 1500},
			},
			Change: report.Change{Code: "x/y"},
		}
	}
	for _, test := range []struct {
		name   string
		change func(*experiment.Facts)
		want   func(*report.Cost)
	}{
		{name: "measured"},
		{name: "windows_that_a_turn_cuts_do_not_count", change: func(f *experiment.Facts) {
			f.Turns[0].From, f.Turns[0].To = at(3.5), at(8.5) // still 5 s, of which 4 whole windows say 150 calls a second
			for _, c := range f.Clients {
				c.Windows[3].Calls, c.Windows[8].Calls = 9000, 9000
			}
		}, want: func(c *report.Cost) { c.Failed[experiment.Kill] = report.Failed{Calls: 1500 + 2*3*8950} }},
		{name: "calls_that_fail_are_calls", change: func(f *experiment.Facts) {
			f.Clients["c1"].Windows[4].Failures = map[string]int64{"Unavailable": 4}
		}, want: func(c *report.Cost) {
			c.Turns[0].Failed, c.Failed[experiment.Kill] = 4, report.Failed{Failed: 4, Calls: 1500}
		}},
		{name: "turn_without_an_answer", change: func(f *experiment.Facts) {
			for _, c := range f.Clients {
				for i := 3; i < 8; i++ {
					c.Windows[i].LatencyHDR = ""
				}
			}
		}, want: func(c *report.Cost) { c.Turns = c.Turns[1:] }},
		{name: "turn_without_a_window", change: func(f *experiment.Facts) { f.Turns[0].From, f.Turns[0].To = at(900), at(905) }, want: func(c *report.Cost) { c.Turns = c.Turns[1:] }},
		{name: "plain_at_one_server", change: func(f *experiment.Facts) { f.Handshakes["s2"] = 0 }, want: func(c *report.Cost) { c.Encrypted = false }},
		{name: "handshakes_not_counted", change: func(f *experiment.Facts) { f.Handshakes = nil }, want: func(c *report.Cost) { c.Encrypted = false }},
		{name: "all_on_one_node", change: func(f *experiment.Facts) {
			for pod := range f.Nodes {
				f.Nodes[pod] = "n1"
			}
		}, want: func(c *report.Cost) { c.OtherNode = new(0.) }},
		{name: "nodes_not_known", change: func(f *experiment.Facts) { clear(f.Nodes) }, want: func(c *report.Cost) { c.OtherNode = nil }},
		{name: "steady_not_measured", change: func(f *experiment.Facts) { f.Phases[experiment.Steady].NotMeasured = "no room" }, want: func(c *report.Cost) { c.OtherNode = nil }},
		{name: "new_pods_never_called", change: func(f *experiment.Facts) {
			for _, c := range f.Clients {
				for _, s := range added {
					delete(c.First, s)
				}
			}
		}, want: func(c *report.Cost) { c.NewPods = &report.NewPods{Pairs: 9, WatchedSeconds: 13} }},
		{name: "scale_out_not_measured", change: func(f *experiment.Facts) { delete(f.Phases, experiment.ScaleOut) }, want: func(c *report.Cost) { c.NewPods = nil }},
		{name: "some_fail_and_some_are_late", change: func(f *experiment.Facts) {
			f.Clients["c1"].Windows[40].Failures = map[string]int64{"DeadlineExceeded": 2, "Unavailable": 1}
			f.Clients["c2"].Windows[40].Failures = map[string]int64{"DeadlineExceeded": 1}
		}, want: func(c *report.Cost) {
			c.Failed[experiment.ServerLeaves] = report.Failed{Failed: 4, Late: 3, Calls: 2550}
			c.Failed[experiment.RollingRestart] = report.Failed{Failed: 4, Late: 3, Calls: 2550}
		}},
		{name: "experiments_not_measured", change: func(f *experiment.Facts) {
			delete(f.Phases, experiment.RollingRestart)
			f.Phases[experiment.Kill].NotMeasured = "no cgroups"
		}, want: func(c *report.Cost) {
			delete(c.Failed, experiment.RollingRestart)
			delete(c.Failed, experiment.Kill)
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
			got, err := experiment.Cost(f, report.Change{Code: "x/y"})
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
		f.Turns = nil
		if got, err := experiment.Cost(f, report.Change{}); got != nil || err != nil {
			t.Errorf("cost %+v, error %v, want none", got, err)
		}
	})
	t.Run("broken_histogram", func(t *testing.T) {
		f := inTurns(t)
		f.Clients["c1"].Windows[4].LatencyHDR = "nothing"
		if got, err := experiment.Cost(f, report.Change{}); err == nil || !strings.Contains(err.Error(), "window 5") {
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
	}{
		{name: "none", want: report.Proxies{AppPods: 2}},
		{
			name: "beside_both", added: map[string]map[string]int64{"c1": {"istio-proxy": 40}, "s1": {"istio-proxy": 50}},
			want: report.Proxies{AppPods: 2, Beside: 2, MemoryBytes: 90},
		},
		{name: "beside_clients", added: map[string]map[string]int64{"c1": {"istio-proxy": 40}}, want: report.Proxies{AppPods: 2, Beside: 1, MemoryBytes: 40}},
		{name: "apart", added: map[string]map[string]int64{"e1": {"envoy": 30}, "e2": {"envoy": 31}}, want: report.Proxies{AppPods: 2, Pods: 2, MemoryBytes: 61}},
		{name: "apart_with_a_helper", added: map[string]map[string]int64{"l5d": {"l5d": 200, "kubectl": 20}}, want: report.Proxies{AppPods: 2, Pods: 1, MemoryBytes: 220}},
		{
			name: "both", added: map[string]map[string]int64{"c1": {"agent": 5}, "e1": {"envoy": 30}},
			want: report.Proxies{AppPods: 2, Beside: 1, Pods: 1, MemoryBytes: 35},
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
			if diff := cmp.Diff(test.want, experiment.Proxies(experiment.NewFacts("k8s-api", "x", dns), experiment.Turn{Memory: memory})); diff != "" {
				t.Errorf("proxies (-want +got):\n%s", diff)
			}
		})
	}
}

// A change is what l4's client has not: arguments by their values, the code that
// its strategy names and what its own Role allows.
func TestChangeOf(t *testing.T) {
	role := func(kind, name string, rules ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": kind, "metadata": map[string]any{"name": name}, "rules": rules}}
	}
	rule := func(resources []any, verbs ...any) map[string]any {
		return map[string]any{"resources": resources, "verbs": verbs}
	}
	for _, test := range []struct {
		name    string
		code    string
		args    []string
		objects []*unstructured.Unstructured
		want    report.Change
	}{
		{name: "nothing", args: []string{"--target=a", "--rate=50"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "another_order", args: []string{"--rate=50", "--target=a"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "another_value_and_another_flag", args: []string{"--target=b", "--more", "--rate=50"}, want: report.Change{Args: []string{"--target=b", "--more"}, Rights: []string{}}},
		{name: "one_less", args: []string{"--target=a"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "code", code: "x/y", args: []string{"--target=a"}, want: report.Change{Code: "x/y", Args: []string{}, Rights: []string{}}},
		{
			name: "rights", args: []string{"--target=a"},
			objects: []*unstructured.Unstructured{role("Role", "caller", rule([]any{"slices", "pods"}, "list", "watch"), rule([]any{"nodes"}, "get"))},
			want:    report.Change{Args: []string{}, Rights: []string{"list, watch slices, pods", "get nodes"}},
		},
		{
			name: "rights_of_others", args: []string{"--target=a"},
			objects: []*unstructured.Unstructured{role("Role", "proxy", rule([]any{"slices"}, "list")), role("RoleBinding", "caller")},
			want:    report.Change{Args: []string{}, Rights: []string{}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := deploymentOf("echo-client", test.args...)
			client.Spec.Template.Spec.ServiceAccountName = "caller"
			got := experiment.ChangeOf(experiment.Strategy{Code: test.code}, client, deploymentOf("echo-client", "--target=a", "--rate=50"), test.objects)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
		})
	}
}

// What an application changes for each strategy is what its overlay shows.
func TestChangeOfEveryOverlay(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) []*unstructured.Unstructured {
		rendered, err := repository.Render(name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := manifest.Unstructured(rendered)
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	l4, err := experiment.Deployment(load("l4"), "echo-client")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"--target=dns:///echo-server:8080", "--lb-policy=round_robin"}
	none := []string{}
	want := map[string]report.Change{
		"l4":          {Args: none, Rights: none},
		"l4-max-age":  {Args: none, Rights: none},
		"dns":         {Args: names[1:], Rights: none},
		"dns-max-age": {Args: names[1:], Rights: none},
		"k8s-api": {
			Args: []string{"--target=k8s:///echo-server:grpc", "--lb-policy=round_robin"}, Code: "apps/k8sresolver", Rights: []string{"list, watch endpointslices"},
		},
		"linkerd": {Args: []string{"--target=passthrough:///[$(HOST_IP)]:4140", "--authority=echo-server:8080"}, Rights: none},
		"envoy":   {Args: []string{"--target=dns:///envoy:8080"}, Rights: none},
		"istio":   {Args: none, Rights: none},
		"xds":     {Args: []string{"--target=xds:///echo-server:8080"}, Code: "google.golang.org/grpc/xds", Rights: none},
	}
	got := map[string]report.Change{}
	for _, s := range experiment.Strategies {
		objects := load(s.Name)
		client, err := experiment.Deployment(objects, "echo-client")
		if err != nil {
			t.Fatal(err)
		}
		got[s.Name] = experiment.ChangeOf(s, client, l4, objects)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
