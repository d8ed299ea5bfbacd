package inspect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
)

// Counted calls decide the verdict: one server of several is pinned, all of them evenly
// are balanced, and what shows neither decides nothing.
func TestTrafficDecides(t *testing.T) {
	even, one, two, uneven, none := distribution.Counts{"a": 30, "b": 31, "c": 29}, distribution.Counts{"a": 90}, distribution.Counts{"a": 45, "b": 45}, distribution.Counts{"a": 88, "b": 1, "c": 1}, distribution.Counts{}
	for _, test := range []struct {
		name     string
		ready    int
		missing  []string
		seen     []distribution.Counts
		verdict  balance.Verdict
		measured bool
		traffic  string
		findings []string
	}{
		{"all servers evenly", 3, nil, []distribution.Counts{even, even}, balance.Balanced, true, "each called 3 of 3 servers", nil},
		{"one server each", 3, nil, []distribution.Counts{one, one}, balance.Pinned, true, "each called 1 of 3 servers", nil},
		{"one of the clients stays on one server", 3, nil, []distribution.Counts{even, one}, balance.Pinned, true, "each called 1 to 3 of 3 servers", nil},
		{"the only server", 1, nil, []distribution.Counts{one}, balance.Balanced, true, "each called 1 of 1 servers", nil},
		{"two of three, evenly", 3, nil, []distribution.Counts{two}, balance.Balanced, true, "each called 2 of 3 servers", []string{"partial-view"}},
		{"all servers unevenly", 3, nil, []distribution.Counts{uneven}, balance.Undecided, false, "neither one server nor all of them evenly", nil},
		{"a client without calls is left out", 3, nil, []distribution.Counts{even, none}, balance.Balanced, true, "1 in 5s", nil},
		{"no call", 3, nil, []distribution.Counts{none}, balance.Undecided, false, "no answered call in 5s", nil},
		{"no port", 3, []string{"Deployment/web has no known channelz port"}, nil, balance.Undecided, false, "not seen: Deployment/web has no known channelz port", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inspect.ByTraffic(test.ready, test.missing, test.seen...)
			if s.Verdict != test.verdict || s.Measured != test.measured || !strings.Contains(s.Traffic, test.traffic) {
				t.Errorf("%s, measured %t, %q; want %s, %t, %q", s.Verdict, s.Measured, s.Traffic, test.verdict, test.measured, test.traffic)
			}
			if diff := cmp.Diff(test.findings, names(s)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// What an address got between two readings is their difference, or all of it if its
// counter began anew.
func TestSince(t *testing.T) {
	got := inspect.Since(distribution.Counts{"same": 5, "more": 5, "anew": 50, "gone": 5}, distribution.Counts{"same": 5, "more": 7, "anew": 3, "new": 4})
	if diff := cmp.Diff(distribution.Counts{"more": 2, "anew": 3, "new": 4}, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
