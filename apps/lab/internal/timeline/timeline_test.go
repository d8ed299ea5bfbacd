package timeline_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/timeline"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func window(from, to float64, servers map[string]int64, failed, closed int64) calllog.Window {
	return calllog.Window{Start: at(from), End: at(to), Servers: servers, Failures: map[string]int64{"Unavailable": failed}, Closed: closed}
}

// The counts of a window are shared out to its bins by time, a lane lives from its first readiness to
// the moment when the endpoints lose it for good, and pods that nothing says are ready are
// there if clients name them.
func TestOf(t *testing.T) {
	f := observe.NewFacts(observe.Subject{Strategy: "l4"})
	f.Clients["late"] = &observe.Client{Started: at(1), First: map[string]time.Time{"b": at(1.2)}, Windows: []calllog.Window{
		window(1, 2, map[string]int64{"b": 5}, 0, 0), window(2, 3, map[string]int64{"b": 4}, 1, 1),
	}}
	f.Clients["early"] = &observe.Client{Started: at(0), First: map[string]time.Time{"a": at(0.1), "b": at(1.1), "x": at(2.5)}, Windows: []calllog.Window{
		window(0, 1.02, map[string]int64{"a": 7}, 0, 0), window(1.02, 2.04, map[string]int64{"a": 3, "b": 4}, 0, 0), window(2.04, 2.9, map[string]int64{"x": 1}, 0, 0),
	}}
	f.Ready["a"], f.Ready["b"], f.Ready["idle"] = at(-3), at(0.5), at(-2)
	f.Endpoints = []observe.EndpointEvent{
		{At: at(-3), Ready: map[string]string{"a": ""}},
		{At: at(-2), Ready: map[string]string{"a": "", "idle": ""}},
		{At: at(-1), Ready: map[string]string{"idle": ""}},
		{At: at(0.5), Ready: map[string]string{"a": "", "b": "", "idle": ""}},
		{At: at(2.2), Ready: map[string]string{"b": "", "idle": ""}},
	}
	want := &report.Timeline{
		Start: at(0), StepSeconds: 1, Bins: 4, Clients: []string{"early", "late"},
		Lanes: []report.Lane{
			{Server: "x", Calls: map[string]report.Bins{"early": {0, 0, 1, 0}}, FirstCall: at(2.5)},
			{Server: "a", Ready: at(-3), Left: at(2.2), FirstCall: at(0.1), Calls: map[string]report.Bins{"early": {7, 3, 0, 0}}},
			{Server: "idle", Ready: at(-2), Calls: map[string]report.Bins{}},
			{Server: "b", Ready: at(0.5), FirstCall: at(1.1), Calls: map[string]report.Bins{"early": {0, 4, 0, 0}, "late": {0, 5, 4, 0}}},
		},
		Failed: report.Bins{0, 0, 1, 0}, Closed: report.Bins{0, 0, 1, 0},
	}
	got := timeline.Of(f)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("timeline (-want +got):\n%s", diff)
	}
	if err := got.Valid(); err != nil {
		t.Error(err)
	}
	if last := timeline.Last(f, 1500*time.Millisecond); last.Bins != 3 || !last.Start.Equal(at(1)) || last.Lanes[1].Calls["early"][0] != 3 {
		t.Errorf("the last 1.5 s: %+v, want the last three bins", last)
	}
	if part := got.Between(at(99), at(100)); part.Bins != 0 {
		t.Errorf("what is not there: %+v, want no bin", part)
	}
	part := got.Between(at(2), at(2.5))
	if part.Bins != 1 || !part.Start.Equal(at(2)) || len(part.Lanes) != 4 || part.Busiest() != 4 {
		t.Errorf("a part: %+v, want the third bin of all lanes", part)
	}
	if part := got.Between(at(3), at(9)); part.Bins != 1 || len(part.Lanes) != 2 {
		t.Errorf("the end: %+v, want the last bin with the two servers that are ready", part)
	}
}

// Without a call there is no timeline.
func TestOfNothing(t *testing.T) {
	if got := timeline.Of(observe.NewFacts(observe.Subject{})); got != nil {
		t.Errorf("%+v, want none", got)
	}
}
