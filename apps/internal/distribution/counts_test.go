package distribution_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
)

// Each index is computed for known spreads, the empty one included, which must
// give finite numbers because they go into JSON.
func TestIndexes(t *testing.T) {
	type indexes struct {
		Total, MaxMinusMin int64
		Jain, PeakToMean   float64
		Shares             map[string]float64
		Idle               []string
	}
	tests := []struct {
		name   string
		counts distribution.Counts
		want   indexes
	}{
		{
			name:   "no_server",
			counts: nil,
			want:   indexes{Shares: map[string]float64{}},
		},
		{
			name:   "no_call",
			counts: distribution.Counts{}.With("a", "b"),
			want:   indexes{Shares: map[string]float64{"a": 0, "b": 0}, Idle: []string{"a", "b"}},
		},
		{
			name:   "even",
			counts: distribution.Counts{"a": 20, "b": 20},
			want:   indexes{Total: 40, Jain: 1, PeakToMean: 1, Shares: map[string]float64{"a": .5, "b": .5}},
		},
		{
			name:   "one_of_three_gets_everything",
			counts: distribution.Counts{"a": 60}.With("a", "b", "c"),
			want: indexes{
				Total: 60, MaxMinusMin: 60, Jain: 1. / 3, PeakToMean: 3,
				Shares: map[string]float64{"a": 1, "b": 0, "c": 0}, Idle: []string{"b", "c"},
			},
		},
		{
			name:   "uneven",
			counts: distribution.Counts{"a": 1}.Plus(distribution.Counts{"a": 2, "b": 1}),
			want:   indexes{Total: 4, MaxMinusMin: 2, Jain: .8, PeakToMean: 1.5, Shares: map[string]float64{"a": .75, "b": .25}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.counts
			got := indexes{c.Total(), c.MaxMinusMin(), c.Jain(), c.PeakToMean(), c.Shares(), c.Idle()}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
				t.Errorf("indexes (-want +got):\n%s", diff)
			}
		})
	}
}

// The tail probabilities are compared with values computed apart from this
// code: exact fractions for the binomial, the closed forms for chi-square.
func TestUniformProbabilities(t *testing.T) {
	tests := []struct {
		name                   string
		counts                 distribution.Counts
		worst                  string
		worstP, chi2, chi2P    float64
		wantEnough, wantUnifrm bool
	}{
		{"even", distribution.Counts{"a": 20, "b": 20, "c": 20}, "a", 0.560313848741, 0, 1, true, true},
		{"usual_chance", distribution.Counts{"a": 25, "b": 17, "c": 18}, "a", 0.110094728403, 1.9, 0.386741023455, true, true},
		{"two_servers", distribution.Counts{"a": 60, "b": 40}, "a", 0.0284439668205, 4, 0.0455002638964, true, true},
		{"four_servers", distribution.Counts{"a": 30, "b": 25, "c": 20, "d": 25}, "c", 0.148831050443, 2, 0.572406704471, true, true},
		{"five_servers", distribution.Counts{"a": 30, "b": 25, "c": 20, "d": 25, "e": 30}, "c", 0.111624413247, 2.69230769231, 0.610561337226, true, true},
		{"one_idle", distribution.Counts{"a": 30, "b": 30, "c": 0}, "c", 2.71972163894e-11, 30, 3.05902320502e-7, true, false},
		{"one_connection_for_all", distribution.Counts{"a": 60, "b": 0, "c": 0}, "a", 2.35898248759e-29, 120, 8.7565107627e-27, true, false},
		{"too_few", distribution.Counts{"a": 37, "b": 0, "c": 0}, "a", 2.22082110179e-18, 74, 8.53304762574e-17, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := distribution.TestUniform(tt.counts)
			want := distribution.Uniformity{
				Calls: tt.counts.Total(), Servers: len(tt.counts), Enough: tt.wantEnough, Uniform: tt.wantUnifrm,
				Worst: tt.worst, WorstP: tt.worstP, ChiSquare: tt.chi2, ChiSquareP: tt.chi2P,
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Errorf("TestUniform(%v) (-want +got):\n%s", tt.counts, diff)
			}
		})
	}
}

// A random choice is never refuted in thousands of experiments, and a choice
// that leaves one server out always is: the test neither flakes nor sleeps.
func TestUniformNeverFlakesAndAlwaysFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "d", "e", "f"}
	for range 3000 {
		n := 2 + random.IntN(len(names)-1)
		servers := names[:n]
		calls := distribution.CallsNeeded(n) + random.Int64N(200)
		fair, unfair := distribution.Counts{}.With(servers...), distribution.Counts{}.With(servers...)
		for range calls {
			fair[servers[random.IntN(n)]]++
			unfair[servers[random.IntN(n-1)]]++
		}
		if got := distribution.TestUniform(fair); !got.Uniform {
			t.Errorf("random choice refuted: %v: %v", fair, got)
		}
		if got := distribution.TestUniform(unfair); got.Uniform {
			t.Errorf("idle server not found: %v: %v", unfair, got)
		}
	}
}

// A spread needs two servers and calls; what cannot be judged is not uniform.
func TestUniformWithoutEvidence(t *testing.T) {
	for name, counts := range map[string]distribution.Counts{
		"nothing": nil, "one_server": {"a": 100}, "no_call": {"a": 0, "b": 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := distribution.TestUniform(counts); got.Uniform || got.Enough || got.String() == "" {
				t.Errorf("TestUniform(%v) = %v, want no verdict", counts, got)
			}
		})
	}
}

// A server that never answers is slower than every one that does, and an answer
// that came before the watch said ready is told as such.
func TestFirstCalls(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	calls := distribution.FirstCalls(
		map[string]time.Time{"a": at(10), "b": at(10), "c": at(10)},
		map[string]time.Time{"a": at(12), "c": at(9), "other": at(1)},
	)
	want := []distribution.FirstCall{
		{Server: "a", Called: true, After: 2 * time.Second},
		{Server: "b"},
		{Server: "c", Called: true, After: -time.Second},
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("FirstCalls (-want +got):\n%s", diff)
	}
	if got, ok := distribution.Slowest(calls); !ok || got.Server != "b" {
		t.Errorf("Slowest = %v, want b, which never answered", got)
	}
	if got, ok := distribution.Slowest([]distribution.FirstCall{calls[0], calls[2]}); !ok || got.Server != "a" {
		t.Errorf("Slowest = %v, want a", got)
	}
	if _, ok := distribution.Slowest(nil); ok {
		t.Error("Slowest of nothing found one")
	}
}

// Shares that chance explains are told from those that it does not; 2000 calls tell 10 % from
// its half and its double.
func TestShares(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n, all int64
		want   bool
	}{
		{"exact", 200, 2000, true},
		{"four_sigmas_more", 253, 2000, true},
		{"six_sigmas_more", 281, 2000, false},
		{"half", 100, 2000, false},
		{"double", 400, 2000, false},
		{"none", 0, 2000, false},
		{"none_of_few", 0, 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p, plausible := distribution.TestShare(tt.n, tt.all, 0.1); plausible != tt.want || p < 0 || p > 1 {
				t.Errorf("TestShare(%d, %d, 0.1) = %v, %t, expected plausible %t", tt.n, tt.all, p, plausible, tt.want)
			}
		})
	}
}
