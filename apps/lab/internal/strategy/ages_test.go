package strategy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// New pods must be seen within some ages, and where clients learn of servers
// from DNS no sooner than it can tell and one connection has ended.
func TestAgedLimit(t *testing.T) {
	for _, test := range []struct {
		name, strategy string
		age            time.Duration
		want           time.Duration
	}{
		{name: "chance", strategy: "l4-max-age", age: 10 * time.Second, want: time.Minute},
		{name: "names_of_long_ages", strategy: "dns-max-age", age: 10 * time.Second, want: time.Minute},
		{name: "names_of_short_ages", strategy: "dns-max-age", age: time.Second, want: 41*time.Second + 100*time.Millisecond}, // 30 s, TTL, 5 s, 1.1 ages
		{name: "chance_of_short_ages", strategy: "l4-max-age", age: time.Second, want: 6 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFacts(test.strategy, "x")
			f.ConnectionAge = test.age
			if got := strategy.AgedLimit(f.Subject); got != test.want {
				t.Errorf("limit %s, want %s", got, test.want)
			}
		})
	}
}

// A move is a window that another server answered most of than the one before;
// windows without an answer and even ones are none.
func TestMoves(t *testing.T) {
	window := func(opened int64, servers map[string]int64) calllog.Window {
		return calllog.Window{Opened: opened, Servers: servers}
	}
	for _, test := range []struct {
		name          string
		windows       []calllog.Window
		opened, moved int64
	}{
		{name: "nothing"},
		{name: "stays", windows: []calllog.Window{window(1, map[string]int64{"s1": 50}), window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s1": 50})}, opened: 2},
		{name: "goes", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s1": 10, "s2": 40}), window(0, map[string]int64{"s2": 50})}, opened: 1, moved: 1},
		{name: "goes_and_returns", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s2": 50}), window(1, map[string]int64{"s1": 50})}, opened: 2, moved: 2},
		{name: "is_silent_and_stays", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(0, nil), window(1, map[string]int64{"s1": 50})}, opened: 1},
		{name: "is_silent_and_goes", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(0, nil), window(1, map[string]int64{"s2": 50})}, opened: 1, moved: 1},
		{name: "half_and_half", windows: []calllog.Window{window(0, map[string]int64{"s2": 50}), window(1, map[string]int64{"s1": 25, "s2": 25}), window(0, map[string]int64{"s2": 50})}, opened: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFacts("l4-max-age", "x")
			for i := range test.windows {
				test.windows[i].Start, test.windows[i].End = at(float64(i)), at(float64(i+1))
			}
			f.Clients["c1"] = &observe.Client{Windows: test.windows}
			f.Clients["c2"] = &observe.Client{Windows: []calllog.Window{{Start: at(0), End: at(1), Opened: 7}}} // not asked for
			if opened, moved := strategy.Moves(f, at(0), at(9), "c1"); opened != test.opened || moved != test.moved {
				t.Errorf("%d connections and %d moves, want %d and %d", opened, moved, test.opened, test.moved)
			}
		})
	}
}

// Chance gives at least that many moves, and one is always wanted.
func TestLeastMoves(t *testing.T) {
	for _, test := range []struct {
		name    string
		opened  int64
		servers int
		want    int64
	}{
		{name: "none_opened", opened: 0, servers: 3, want: 1},
		{name: "few_opened", opened: 10, servers: 3, want: 1},
		{name: "many_opened", opened: 100, servers: 3, want: 44},      // 66.7 - 5 x 4.71
		{name: "of_two_servers", opened: 1000, servers: 2, want: 421}, // 500 - 5 x 15.8
		{name: "of_one_server", opened: 1000, servers: 1, want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strategy.LeastMoves(test.opened, test.servers); got != test.want {
				t.Errorf("%d of %d connections must move, want %d", got, test.opened, test.want)
			}
		})
	}
}

// What ending connections costs is told of the scale-out of a strategy that does,
// and of no other.
func TestReconnects(t *testing.T) {
	const text = "connections that end by age fail no call: "
	lost := func() *observe.Facts {
		f := aged()
		f.Clients["c2"].Windows[20].Failures = map[string]int64{"Unavailable": 2}
		f.Clients["c2"].Windows[5].Failures = map[string]int64{"Unavailable": 9} // before it
		return f
	}
	silent := func() *observe.Facts {
		f := aged()
		for _, c := range f.Clients {
			c.Windows = nil
		}
		return f
	}
	for _, test := range []struct {
		name  string
		scene func() *observe.Facts
		want  []string
	}{
		{name: "none_is_lost", scene: aged, want: []string{"yes: " + text + "4.0 new connections a minute and client, 0 of 2250 calls failed"}},
		{name: "some_are_lost", scene: lost, want: []string{"no: " + text + "4.0 new connections a minute and client, 2 of 2250 calls failed"}},
		{name: "no_call", scene: silent, want: []string{"no: " + text + "0.0 new connections a minute and client, 0 of 0 calls failed"}},
		{name: "connections_that_stay", scene: pinned},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, found := range strategy.Findings(strategy.ScaleOut, test.scene()) {
				if strings.Contains(found, "end by age") {
					got = append(got, found)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
