package strategy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// hpaScene is an HPA that settles 30 s after the load was raised, and is watched until 90 s.
// Servers are all that are ready at the end; those after the third are new.
type hpaScene struct {
	called []string           // by every client
	use    map[string]float64 // millicores of a limit of 100
	wanted int
	failed int64                     // calls of each client a second, beside one
	looks  func(*strategy.Look, int) // changes a look, at a second
}

func (h hpaScene) facts() *observe.Facts {
	f := newFacts("l4", "grpc-lb-l4")
	servers := observe.Keys(h.use)
	seen := &strategy.Scaled{Limit: 100}
	for second := 3; second <= 90; second += 3 {
		l := strategy.Look{At: at(float64(second)), Wanted: h.wanted, Ready: servers, Millicores: h.use}
		if second < 30 {
			l.Ready, l.Millicores = servers[:3], map[string]float64{}
		}
		if h.looks != nil {
			h.looks(&l, second)
		}
		seen.Looks = append(seen.Looks, l)
	}
	f.Phases[strategy.HPA] = &observe.Phase{
		Change: at(0), End: at(91), Clients: clients, Servers: servers[:3], Added: servers[3:], Evidence: seen,
	}
	for _, name := range clients {
		c := &observe.Client{}
		for s := range 90 {
			w := calllog.Window{Start: at(float64(s)), End: at(float64(s + 1)), Calls: 50, Servers: map[string]int64{}, Failures: map[string]int64{"DeadlineExceeded": 1 + h.failed}}
			for _, server := range h.called {
				w.Servers[server] = 50
			}
			c.Windows = append(c.Windows, w)
		}
		f.Clients[name] = c
	}
	return f
}

func uses(millicores ...float64) map[string]float64 {
	all := map[string]float64{}
	for i, m := range millicores {
		all[fmt.Sprintf("s%d", i+1)] = m
	}
	return all
}

// An HPA stalls where it is content while the servers that are called use more than it wants
// and what it added is idle, and settles where all share the load: each claim is refuted by
// every way of being otherwise, and by an HPA that does not come to rest.
func TestHPAClaims(t *testing.T) {
	restless := func(l *strategy.Look, second int) {
		if second == 60 {
			l.Wanted++
		}
	}
	six := []string{"s1", "s2", "s3", "s4", "s5", "s6"}
	even := uses(52, 48, 50, 51, 49, 50)
	for _, test := range []struct {
		name           string
		scene          hpaScene
		stall, settled report.Status
	}{
		{name: "two_of_four_held", scene: hpaScene{called: six[:2], use: uses(99, 97, 3, 3), wanted: 4}, stall: report.Proven, settled: report.Refuted},
		{name: "one_of_three_held_and_no_server_added", scene: hpaScene{called: six[:1], use: uses(99, 3, 3), wanted: 3}, stall: report.Proven, settled: report.Refuted},
		{name: "three_of_six_held", scene: hpaScene{called: six[:3], use: uses(99, 99, 99, 3, 3, 3), wanted: 6}, stall: report.Proven, settled: report.Refuted},
		{name: "all_share", scene: hpaScene{called: six, use: even, wanted: 6}, stall: report.Refuted, settled: report.Proven},
		{name: "all_share_and_no_server_added", scene: hpaScene{called: six[:3], use: uses(50, 50, 50), wanted: 3}, stall: report.Refuted, settled: report.Refuted},
		{name: "a_new_server_is_called", scene: hpaScene{called: []string{"s1", "s4"}, use: uses(99, 3, 3, 99), wanted: 4}, stall: report.Refuted, settled: report.Refuted},
		{name: "a_called_server_is_within_the_target", scene: hpaScene{called: six[:2], use: uses(99, 54, 3, 3), wanted: 4}, stall: report.Refuted, settled: report.Refuted},
		{name: "two_above_the_target", scene: hpaScene{called: six[:2], use: uses(80, 60, 3, 3), wanted: 4}, stall: report.Proven, settled: report.Refuted},
		{name: "no_server_is_idle", scene: hpaScene{called: six[:3], use: uses(99, 99, 99), wanted: 3}, stall: report.Refuted, settled: report.Refuted},
		{name: "no_call_at_all", scene: hpaScene{use: uses(3, 3, 3), wanted: 3}, stall: report.Refuted, settled: report.Refuted},
		{name: "the_machine_is_busy", scene: hpaScene{called: six[:2], use: uses(70, 72, 3, 3), wanted: 4, failed: 60}, stall: report.NotRun, settled: report.Refuted},
		{name: "the_machine_is_busy_for_all", scene: hpaScene{called: six, use: uses(30, 30, 30, 30, 30, 30), wanted: 6, failed: 60}, stall: report.NotRun, settled: report.NotRun},
		{name: "calls_fail_at_the_limit", scene: hpaScene{called: six[:2], use: uses(99, 99, 3, 3), wanted: 4, failed: 60}, stall: report.Proven, settled: report.Refuted},
		{name: "far_from_the_target", scene: hpaScene{called: six, use: uses(70, 70, 70, 70, 70, 70), wanted: 6}, stall: report.Refuted, settled: report.Refuted},
		{name: "a_server_at_its_limit", scene: hpaScene{called: six, use: uses(95, 40, 40, 40, 40, 40), wanted: 6}, stall: report.Refuted, settled: report.Refuted},
		{name: "it_wants_another_number", scene: hpaScene{called: six, use: even, wanted: 6, looks: restless}, stall: report.Refuted, settled: report.Refuted},
		{name: "a_server_never_got_ready", scene: hpaScene{called: six[:2], use: uses(99, 97, 3, 3), wanted: 5}, stall: report.Refuted, settled: report.Refuted},
		{
			name: "a_server_was_replaced", scene: hpaScene{called: six, use: even, wanted: 6, looks: func(l *strategy.Look, second int) {
				if second == 60 {
					l.Ready = append(slices.Clone(l.Ready[:5]), "s9")
				}
			}},
			stall: report.Refuted, settled: report.Refuted,
		},
		{
			name: "a_server_was_not_measured", scene: hpaScene{called: six, use: even, wanted: 6, looks: func(l *strategy.Look, second int) {
				if second == 60 {
					l.Millicores = uses(50, 50, 50, 50, 50)
				}
			}},
			stall: report.Refuted, settled: report.Refuted,
		},
		{name: "it_was_not_watched", scene: hpaScene{use: uses(1, 1, 1)}, stall: report.NotRun, settled: report.NotRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.scene.facts()
			if test.scene.wanted == 0 {
				f.Phases[strategy.HPA].Evidence = &strategy.Scaled{Limit: 100}
			}
			for id, want := range map[int]report.Status{46: test.stall, 47: test.stall, 48: test.settled} {
				if got := claim(t, id).Evaluate(f); got.Status != want {
					t.Errorf("claim %d is %s, want %s: %s%s", id, got.Status, want, got.Measured, got.Reason)
				}
			}
		})
	}
}

// What a claim measured says how many servers there were after which time, what they used and
// how many calls failed, all of the time in which the HPA was at rest.
func TestHPAMeasured(t *testing.T) {
	f := hpaScene{called: []string{"s1", "s2"}, use: uses(99, 97, 2, 2), wanted: 4}.facts()
	want := "2 of 4 servers above the target, 2 without a call, 1 of these new: 4 servers after 45 s, 50 % of the limit on average, 99 % at most; 135 of 13635 calls failed"
	if got := claim(t, 46).Evaluate(f); got.Measured != want || got.Figure != "2 of 4 above the target, 2 idle" {
		t.Errorf("measured %q, figure %q, want %q", got.Measured, got.Figure, want)
	}
}
