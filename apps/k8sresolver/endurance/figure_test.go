package endurance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// slack is how much worse than its goal a figure of a light run may be, which a busy
// machine takes at a bad moment. A goal of zero has none.
const slack = 20

// figure is a measured value.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  float64 `json:"goal"` // at most; meaningless when NoGoal is set

	NoGoal bool `json:"no_goal,omitempty"`
	Full   bool `json:"full"`
}

// atMost prints a figure, and fails the test if it misses its goal by far or, in a full
// run, at all.
func atMost(t *testing.T, name string, value float64, unit string, goal float64) {
	t.Helper()
	verdict := "met"
	switch {
	case !*full:
		verdict = "not judged, this run is light"
	case value > goal:
		verdict = "MISSED"
	}
	write(t, figure{Name: name, Value: value, Unit: unit, Goal: goal}, fmt.Sprintf("goal <= %v: %s", goal, verdict))
	if limit := pick(goal*slack, goal); value > limit {
		t.Errorf("%s = %v %s, want at most %v", name, value, unit, limit)
	}
}

// note prints a figure that has no goal.
func note(t *testing.T, name string, value float64, unit string) {
	t.Helper()
	write(t, figure{Name: name, Value: value, Unit: unit, NoGoal: true}, "no goal")
}

func write(t *testing.T, f figure, comment string) {
	t.Helper()
	fmt.Fprintf(t.Output(), "figure %s %.4g %s (%s)\n", f.Name, f.Value, f.Unit, comment)
	if *asJSON == "" {
		return
	}
	f.Full = *full
	line, err := json.Marshal(f)
	must(t, err)
	file, err := os.OpenFile(*asJSON, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = file.Write(append(line, '\n'))
	must(t, err)
	must(t, file.Close())
}

// must ends the test if its own machinery failed.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile sorts, and returns the value that p of a hundred do not exceed.
func percentile(took []time.Duration, p int) time.Duration {
	slices.Sort(took)
	return took[(len(took)-1)*p/100]
}
