package runner_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// script is what attempts find of each strategy: the status of its one claim.
type script struct {
	claims   map[string][]report.Status // by strategy, an attempt after another
	reason   map[string]observe.Reason  // why it does not run
	measured [][]string                 // the strategies of each attempt
	released []string
	fails    error // of the second attempt
}

func (s *script) attempt(overlays []runner.Overlay) (report.Result, []runner.Outcome, error) {
	var result report.Result
	var outcomes []runner.Outcome
	var names []string
	for _, o := range overlays {
		names = append(names, o.Name)
		status, claim := report.Ran, report.Claim{ID: 1, Strategy: o.Name, Status: report.Proven}
		if reason, ok := s.reason[o.Name]; ok {
			status, claim.Status, claim.Reason = report.NotRun, report.NotRun, reason.Text
		} else if left := s.claims[o.Name]; len(left) > 0 {
			claim.Status, s.claims[o.Name] = left[0], left[1:]
		}
		result.Strategies = append(result.Strategies, report.Strategy{Name: o.Name, Status: status})
		result.Claims = append(result.Claims, claim)
		outcomes = append(outcomes, runner.OutcomeOf(o.Strategy, status, s.reason[o.Name], claim))
	}
	s.measured = append(s.measured, names)
	if len(s.measured) == 2 && s.fails != nil {
		return result, outcomes, s.fails
	}
	return result, outcomes, nil
}

// Another attempt measures only the strategies about which it could bring more, each
// after the deployer let go of it, and what it finds replaces what was found before.
func TestRepeat(t *testing.T) {
	refuted, proven := report.Refuted, report.Proven
	lacking := map[string]observe.Reason{"b": {Kind: observe.Lacking, Text: "no image"}}
	for _, test := range []struct {
		name     string
		script   script
		retries  int
		measured [][]string
		want     []report.Status // of the claims about a, b and c, at the end
		err      bool
	}{
		{"all_proven", script{}, 3, [][]string{{"a", "b", "c"}}, []report.Status{proven, proven, proven}, false},
		{"one_is_doubtful", script{claims: map[string][]report.Status{"b": {refuted, proven}}}, 3,
			[][]string{{"a", "b", "c"}, {"b"}}, []report.Status{proven, proven, proven}, false},
		{"one_stays_refuted", script{claims: map[string][]report.Status{"b": {refuted, refuted, refuted}}}, 2,
			[][]string{{"a", "b", "c"}, {"b"}, {"b"}}, []report.Status{proven, refuted, proven}, false},
		{"two_and_then_one", script{claims: map[string][]report.Status{"a": {refuted, proven}, "c": {refuted, refuted, proven}}}, 2,
			[][]string{{"a", "b", "c"}, {"a", "c"}, {"c"}}, []report.Status{proven, proven, proven}, false},
		{"no_retries", script{claims: map[string][]report.Status{"b": {refuted}}}, 0,
			[][]string{{"a", "b", "c"}}, []report.Status{proven, refuted, proven}, false},
		{"what_lacks_something", script{reason: lacking}, 3,
			[][]string{{"a", "b", "c"}}, []report.Status{proven, report.NotRun, proven}, false},
		{"an_attempt_that_fails", script{claims: map[string][]report.Status{"b": {refuted, refuted, refuted}}, fails: errors.New("the API server is gone")}, 3,
			[][]string{{"a", "b", "c"}, {"b"}}, []report.Status{proven, refuted, proven}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all []runner.Overlay
			for _, name := range []string{"a", "b", "c"} {
				all = append(all, runner.Overlay{Strategy: runner.Strategy{Name: name}})
			}
			s := test.script
			result, err := runner.Repeat(all, test.retries, s.attempt, func(o runner.Overlay) error {
				s.released = append(s.released, o.Name)
				return nil
			})
			if (err != nil) != test.err {
				t.Errorf("error %v, want one: %t", err, test.err)
			}
			if diff := cmp.Diff(test.measured, s.measured); diff != "" {
				t.Errorf("measured (-want +got):\n%s", diff)
			}
			if again := slices.Concat(test.measured[1:]...); !slices.Equal(s.released, again) {
				t.Errorf("released %v, want %v", s.released, again)
			}
			var got []report.Status
			for _, c := range result.Claims {
				got = append(got, c.Status)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

// A strategy that the deployer does not let go of is not measured again: its edits
// would be undone.
func TestRepeatNeedsRelease(t *testing.T) {
	s := script{claims: map[string][]report.Status{"a": {report.Refuted}}}
	stuck := errors.New("argocd does not answer")
	_, err := runner.Repeat([]runner.Overlay{{Strategy: runner.Strategy{Name: "a"}}}, 3, s.attempt, func(runner.Overlay) error { return stuck })
	if !errors.Is(err, stuck) || len(s.measured) != 1 {
		t.Errorf("error %v after %d attempts, want %v after 1", err, len(s.measured), stuck)
	}
}
