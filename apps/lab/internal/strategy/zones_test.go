package strategy_test

import (
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// zoned is what is seen of a strategy in two zones: the clients c1 and c3 and the servers
// s1 and s3 are in zone a, c2 and s2 in zone b. The Service is changed at 10 s, clients are
// watched until 25 s, and from 35 s on s1 is alone.
func zoned(name string, servers func(i, s int) []string) (*observe.Facts, *strategy.Zoned) {
	f := scene(name, servers)
	z := &strategy.Zoned{
		Of:      map[string]string{"n1": "zone-a", "n2": "zone-b"},
		Changed: at(10), Restarting: at(18), Restarted: at(18), Alone: at(25), Emptied: at(35), Clients: clients,
	}
	f.Nodes = map[string]string{"c1": "n1", "c2": "n2", "c3": "n1", "s1": "n1", "s2": "n2", "s3": "n1", "j1": "n1", "j2": "n2"}
	f.Phases[strategy.Zones] = &observe.Phase{Begin: at(2), Change: at(4), End: at(45), Clients: clients, Servers: originals, Evidence: z}
	return f, z
}

// home are the servers in a client's zone.
func home(i int) []string {
	if i == 1 {
		return []string{"s2"}
	}
	return []string{"s1", "s3"}
}

// connected is l4, whose clients follow the field when they connect again.
func connected() *observe.Facts {
	f, z := zoned("l4", func(i, s int) []string {
		switch {
		case s >= 35:
			return []string{"s1"}
		case s >= 18:
			return home(i)[:1]
		}
		return []string{"s2"}
	})
	job := func(pod string, servers map[string]int64) runner.ClientResult {
		return runner.ClientResult{Pod: pod, Summary: calllog.Summary{Servers: servers}}
	}
	z.Before = []runner.ClientResult{job("j1", map[string]int64{"s1": 30, "s2": 36, "s3": 34}), job("j2", map[string]int64{"s1": 33, "s2": 33, "s3": 34})}
	z.After = []runner.ClientResult{job("j1", map[string]int64{"s1": 52, "s3": 48}), job("j2", map[string]int64{"s2": 100})}
	return f
}

// hinted is k8s-api, whose clients follow the field a second later.
func hinted() *observe.Facts {
	f, _ := zoned("k8s-api", func(i, s int) []string {
		switch {
		case s >= 35:
			return []string{"s1"}
		case s >= 11:
			return home(i)
		}
		return originals
	})
	return f
}

func zones(f *observe.Facts) *strategy.Zoned {
	return observe.EvidenceOf[*strategy.Zoned](f, strategy.Zones)
}

// The claims about zones are proven where calls stay in their zone, and refuted where one
// does not, or where nothing had to change.
func TestZoneClaims(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  int
		scene  func() *observe.Facts
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "49_prefers", claim: 49, scene: connected, want: report.Proven},
		{name: "49_field_does_nothing", claim: 49, scene: connected, want: report.Refuted, change: func(f *observe.Facts) { zones(f).After = zones(f).Before }},
		{name: "49_one_connection_crosses", claim: 49, scene: connected, want: report.Refuted, change: func(f *observe.Facts) { zones(f).After[1].Summary.Servers["s3"] = 1 }},
		{name: "49_none_crossed_before", claim: 49, scene: connected, want: report.Refuted, change: func(f *observe.Facts) { zones(f).Before = zones(f).After }},
		{name: "49_restarted_client_crosses", claim: 49, scene: connected, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[20].Servers = map[string]int64{"s1": 49, "s2": 1}
		}},
		{name: "49_client_moves_without_a_restart", claim: 49, scene: connected, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[14].Servers = map[string]int64{"s1": 50}
		}},
		{name: "49_no_new_connection", claim: 49, scene: connected, want: report.NotRun, change: func(f *observe.Facts) { zones(f).After = nil }},
		{name: "49_restarted_clients_are_silent", claim: 49, scene: connected, want: report.NotRun, change: func(f *observe.Facts) { zones(f).Clients = nil }},
		{name: "49_not_measured", claim: 49, scene: connected, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Zones].NotMeasured = observe.Reason{Text: "one zone"}
		}},

		{name: "50_follows", claim: 50, scene: hinted, want: report.Proven},
		{name: "50_ignores_hints", claim: 50, scene: func() *observe.Facts {
			f, _ := zoned("k8s-api", func(int, int) []string { return originals })
			return f
		}, want: report.Refuted},
		{name: "50_follows_too_late", claim: 50, scene: hinted, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c2"].Windows[15].Servers = map[string]int64{"s1": 1, "s2": 49}
		}},
		{name: "50_none_crossed_before", claim: 50, scene: func() *observe.Facts {
			f, _ := zoned("k8s-api", func(i, _ int) []string { return home(i) })
			return f
		}, want: report.Refuted},
		{name: "50_no_calls_after", claim: 50, scene: hinted, want: report.NotRun, change: func(f *observe.Facts) { zones(f).Alone = at(15) }},
		{name: "50_no_evidence", claim: 50, scene: hinted, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.Zones].Evidence = nil }},
	} {
		t.Run(test.name, func(t *testing.T) { judged(t, test.claim, test.scene(), test.change, test.want) })
	}
}

// A zone without a server is served by the others, unless its calls fail or nobody is
// there who makes some.
func TestEmptyZone(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*observe.Facts)
		holds  bool
		want   string // in what was measured
	}{
		{name: "served", holds: true, want: "500 calls crossed zones, 0 failed"},
		{name: "calls_fail", want: "490 calls crossed zones, 10 failed", change: func(f *observe.Facts) {
			w := &f.Clients["c2"].Windows[40]
			w.Servers, w.Failures = map[string]int64{"s1": 40}, map[string]int64{"Unavailable": 10}
		}},
		{name: "nobody_calls", want: "0 calls crossed zones", change: func(f *observe.Facts) { zones(f).Clients = []string{"c1", "c3"} }},
		{name: "not_watched", want: "not watched", change: func(f *observe.Facts) { f.Phases[strategy.Zones].Evidence = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := connected()
			if test.change != nil {
				test.change(f)
			}
			for _, a := range strategy.OnRequest() {
				if a.Name != strategy.Zones {
					continue
				}
				got := a.Assert(f, f.Phases[strategy.Zones])
				if len(got) != 1 || got[0].Holds != test.holds || !strings.Contains(got[0].Measured, test.want) {
					t.Errorf("findings %+v, want %t and %q", got, test.holds, test.want)
				}
			}
		})
	}
}
