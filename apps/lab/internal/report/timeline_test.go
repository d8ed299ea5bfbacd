package report_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// A timeline that grows shows the pods of this moment, and no count that may change.
func TestGrowing(t *testing.T) {
	start := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	whole := report.Timeline{
		Start: start, StepSeconds: 1, Bins: 4, Clients: []string{"c"}, Failed: report.Bins{0, 0, 1, 1}, Closed: report.Bins{0, 0, 0, 0},
		Lanes: []report.Lane{
			{Server: "old", Ready: start, Calls: map[string]report.Bins{"c": {5, 5, 5, 2}}},
			{Server: "new", Ready: start.Add(4500 * time.Millisecond), Calls: map[string]report.Bins{}},
		},
	}
	got := whole.Growing(start.Add(3*time.Second), start.Add(5200*time.Millisecond))
	want := whole
	want.Bins, want.Failed, want.Closed = 6, report.Bins{0, 0, 1, 0, 0, 0}, report.Bins{0, 0, 0, 0, 0, 0}
	want.Lanes = []report.Lane{
		{Server: "old", Ready: start, Calls: map[string]report.Bins{"c": {5, 5, 5, 0, 0, 0}}},
		{Server: "new", Ready: start.Add(4500 * time.Millisecond), Calls: map[string]report.Bins{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grown (-want +got):\n%s", diff)
	}
	if part := got.Between(start, start.Add(5200*time.Millisecond)); len(part.Lanes) != 2 || part.Bins != 6 {
		t.Errorf("it has %d lanes and %d bins, expected the new pod's lane too, and 6", len(part.Lanes), part.Bins)
	}
	if diff := cmp.Diff(report.Bins{5, 5, 5, 2}, whole.Lanes[0].Calls["c"]); diff != "" {
		t.Errorf("the timeline itself changed:\n%s", diff)
	}
	if short := whole.Growing(start.Add(-time.Hour), start.Add(-time.Hour)); short.Bins != 1 || short.Lanes[0].Calls["c"][0] != 0 {
		t.Errorf("of a moment before its start it is %+v, expected one empty bin", short)
	}
}
