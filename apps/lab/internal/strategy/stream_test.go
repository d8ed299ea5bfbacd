package strategy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// streamed is what is seen of clients whose streams are on those servers, one after the
// other, 20 s each, with 5 messages a second. Six servers are ready at 10 s.
func streamed(name string, on ...[]string) *observe.Facts {
	const lives = 20
	f := newFacts(name, "grpc-lb-"+name)
	seen := &strategy.Streams{}
	counted := distribution.Counts{}
	end := 0
	for i, servers := range on {
		r := runner.ClientResult{Pod: fmt.Sprintf("j%d", i+1), Summary: calllog.Summary{Servers: map[string]int64{}}}
		for s := range lives * len(servers) {
			server := servers[s/lives]
			w := &calllog.Window{Seq: s + 1, Start: at(float64(s)), End: at(float64(s + 1)), Issued: 5, Calls: 5, Servers: map[string]int64{server: 5}}
			r.Log = append(r.Log, w)
			if (s+1)%lives == 0 {
				e := &calllog.StreamEnd{Header: calllog.Header{Time: w.End}, Server: server, Opened: at(float64(s + 1 - lives)), Calls: 5 * lives, Code: "Unavailable"}
				if s+1 == lives*len(servers) {
					e.Code = "OK"
				}
				r.Log = append(r.Log, e)
			}
			r.Summary.Servers[server] += 5
			counted[server] += 5
			end = max(end, s+1)
		}
		r.Summary.Calls = distribution.Counts(r.Summary.Servers).Total()
		r.Summary.Issued = r.Summary.Calls
		seen.Ran = append(seen.Ran, r)
	}
	f.Phases[strategy.Stream] = &observe.Phase{Begin: at(0), Change: at(0), End: at(float64(end)), Servers: originals, Added: added, Evidence: seen}
	for _, s := range added {
		f.Ready[s] = at(10)
	}
	for _, s := range slices.Concat(originals, added) {
		n := counted[s]
		f.Servers[s] = &observe.Server{Calls: &n, Ended: true}
	}
	f.Clients["c1"] = &observe.Client{Ended: true, Summary: &calllog.Summary{}}
	return f
}

// staying is l4: each stream lives as long as its client.
func staying() *observe.Facts {
	f := streamed("l4", []string{"s1", "s1"}, []string{"s2", "s2"}, []string{"s2", "s2"})
	for i := range streamsOf(f).Ran {
		log := &streamsOf(f).Ran[i].Log
		*log = slices.DeleteFunc(*log, func(l calllog.Line) bool {
			end, ok := l.(*calllog.StreamEnd)
			return ok && end.Code != "OK"
		})
		last := (*log)[len(*log)-1].(*calllog.StreamEnd)
		last.Opened, last.Calls = at(0), 200
	}
	return f
}

// moving is l4 whose connections end by age.
func moving() *observe.Facts {
	f := streamed("l4-max-age", []string{"s1", "s2", "s2"}, []string{"s2", "s5", "s1"}, []string{"s3", "s3", "s6"})
	f.ConnectionAge, f.ConnectionAgeGrace = 10*time.Second, 10*time.Second
	return f
}

func streamsOf(f *observe.Facts) *strategy.Streams {
	return observe.EvidenceOf[*strategy.Streams](f, strategy.Stream)
}

// ends returns the ends of a client's streams.
func ends(f *observe.Facts, client int) (all []*calllog.StreamEnd) {
	for _, l := range streamsOf(f).Ran[client].Log {
		if end, ok := l.(*calllog.StreamEnd); ok {
			all = append(all, end)
		}
	}
	return all
}

func window(f *observe.Facts, client, second int) *calllog.Window {
	for _, l := range streamsOf(f).Ran[client].Log {
		if w, ok := l.(*calllog.Window); ok && w.Seq == second+1 {
			return w
		}
	}
	return nil
}

// The claims about streams are proven by streams that stay, or that end by age, and
// refuted by each way of not doing so.
func TestStreamClaims(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  int
		scene  func() *observe.Facts
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "59_stays", claim: 59, scene: staying, want: report.Proven},
		{name: "59_ends_by_age", claim: 59, scene: moving, want: report.Refuted},
		{name: "59_moves", claim: 59, scene: staying, want: report.Refuted, change: func(f *observe.Facts) {
			window(f, 1, 35).Servers = map[string]int64{"s4": 5}
		}},
		{name: "59_opened_again_on_the_same", claim: 59, scene: staying, want: report.Refuted, change: func(f *observe.Facts) {
			r := &streamsOf(f).Ran[0]
			r.Log = append(r.Log, ends(f, 0)[0])
		}},
		{name: "59_message_fails", claim: 59, scene: staying, want: report.Refuted, change: func(f *observe.Facts) {
			window(f, 0, 12).Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "59_ends_with_a_failure", claim: 59, scene: staying, want: report.Refuted, change: func(f *observe.Facts) { ends(f, 2)[0].Code = "Unavailable" }},
		{name: "59_no_new_server", claim: 59, scene: staying, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.Stream].Added = nil }},
		{name: "59_watched_too_shortly", claim: 59, scene: staying, want: report.NotRun, change: func(f *observe.Facts) { f.Ready["s5"] = at(25) }},
		{name: "59_over_before_the_scale_out", claim: 59, scene: staying, want: report.NotRun, change: func(f *observe.Facts) { f.Ready["s5"] = at(50) }},
		{name: "59_client_is_missing", claim: 59, scene: staying, want: report.NotRun, change: func(f *observe.Facts) { streamsOf(f).Ran = streamsOf(f).Ran[:2] }},
		{name: "59_not_measured", claim: 59, scene: staying, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Stream].NotMeasured = observe.Reason{Text: "no steady state"}
		}},

		{name: "60_moves", claim: 60, scene: moving, want: report.Proven},
		{name: "60_stays", claim: 60, scene: func() *observe.Facts {
			f := staying()
			f.ConnectionAge, f.ConnectionAgeGrace = 10*time.Second, 10*time.Second
			return f
		}, want: report.Refuted},
		{name: "60_lives_too_long", claim: 60, scene: moving, want: report.Refuted, change: func(f *observe.Facts) {
			ends(f, 1)[1].Opened = at(15)
		}},
		{name: "60_opened_again_on_the_same", claim: 60, scene: moving, want: report.Refuted, change: func(f *observe.Facts) {
			for i := range streamsOf(f).Ran {
				for _, end := range ends(f, i) {
					end.Server = "s1"
				}
			}
		}},
		{name: "60_grace_is_not_limited", claim: 60, scene: moving, want: report.NotRun, change: func(f *observe.Facts) { f.ConnectionAgeGrace = 0 }},
		{name: "60_no_evidence", claim: 60, scene: moving, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.Stream].Evidence = nil }},

		{name: "61_accounted", claim: 61, scene: staying, want: report.Proven},
		{name: "61_accounted_though_streams_end", claim: 61, scene: moving, want: report.Proven},
		{name: "61_answer_after_the_timeout", claim: 61, scene: staying, want: report.Proven, change: func(f *observe.Facts) {
			w, s := window(f, 0, 5), &streamsOf(f).Ran[0].Summary
			w.Servers, w.Failures = map[string]int64{"s1": 4}, map[string]int64{"DeadlineExceeded": 1}
			s.Servers["s1"]--
			s.Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "61_stream_counts_fewer", claim: 61, scene: staying, want: report.Refuted, change: func(f *observe.Facts) { ends(f, 0)[0].Calls-- }},
		{name: "61_stream_counts_more", claim: 61, scene: staying, want: report.Refuted, change: func(f *observe.Facts) { ends(f, 0)[0].Calls++ }},
		{name: "61_window_is_missing", claim: 61, scene: staying, want: report.Refuted, change: func(f *observe.Facts) {
			streamsOf(f).Ran[0].Log = streamsOf(f).Ran[0].Log[1:]
		}},
		{name: "61_server_counts_fewer", claim: 61, scene: staying, want: report.Refuted, change: func(f *observe.Facts) { *f.Servers["s1"].Calls-- }},
		{name: "61_server_counts_more", claim: 61, scene: staying, want: report.Refuted, change: func(f *observe.Facts) { *f.Servers["s1"].Calls++ }},
		{name: "61_server_did_not_count", claim: 61, scene: staying, want: report.NotRun, change: func(f *observe.Facts) { f.Servers["s2"].Calls = nil }},
	} {
		t.Run(test.name, func(t *testing.T) { judged(t, test.claim, test.scene(), test.change, test.want) })
	}
}

// judged compares a claim's verdict on a scene that is changed.
func judged(t *testing.T, id int, f *observe.Facts, change func(*observe.Facts), want report.Status) {
	t.Helper()
	if change != nil {
		change(f)
	}
	got := claim(t, id).Evaluate(f)
	if got.Status != want {
		t.Errorf("claim %d is %s: %s%s, want %s", id, got.Status, got.Measured, got.Reason, want)
	}
	if got.Status == report.NotRun && got.Reason.Text == "" {
		t.Error("it does not say why it was not run")
	}
}
