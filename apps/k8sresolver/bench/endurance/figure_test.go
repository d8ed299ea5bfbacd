package endurance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// noise is by which ratio a figure of a light run may exceed its goal, by its unit. Times
// and CPU time depend on what else the machine does. How much of a program's file is
// resident depends on the kernel's cache. Counts, bytes and heaps have no noise.
var noise = map[string]float64{"ms": 3, "s": 3, "% of a core": 3, "MB": 1.5}

// raceNoise is the further ratio for times that are measured with the race detector.
const raceNoise = 4

// limit returns what a figure of a light run must not exceed.
func limit(unit string, goal float64, race bool) float64 {
	ratio := max(noise[unit], 1)
	if race && ratio > 1 {
		ratio *= raceNoise
	}
	return goal * ratio
}

// figure is a measured value.
type figure struct {
	Value float64  `json:"value"`
	Unit  string   `json:"unit,omitempty"`
	Goal  *float64 `json:"goal,omitempty"` // at most
	Race  bool     `json:"race,omitempty"` // measured with the race detector
}

// atMost prints a figure, and fails the test if it exceeds its goal, in a light run by more
// than noise.
func atMost(t *testing.T, name string, value float64, unit string, goal float64) {
	t.Helper()
	verdict := "met"
	if value > goal {
		verdict = "MISSED"
	}
	write(t, name, figure{Value: value, Unit: unit, Goal: &goal}, fmt.Sprintf("goal <= %v: %s", goal, verdict))
	if most := pick(limit(unit, goal, raceEnabled), goal); value > most {
		t.Errorf("%s = %v %s, want at most %v", name, value, unit, most)
	}
}

// note prints a figure that has no goal.
func note(t *testing.T, name string, value float64, unit string) {
	t.Helper()
	write(t, name, figure{Value: value, Unit: unit}, "no goal")
}

func write(t *testing.T, name string, f figure, comment string) {
	t.Helper()
	fmt.Fprintf(t.Output(), "figure %s %s (%s)\n", name, quantity(f.Value, f.Unit), comment)
	if *asJSON != "" {
		f.Race = raceEnabled
		must(t, record(*asJSON, name, f))
	}
}

// measured is the content of a file of figures.
type measured struct {
	Machine string            `json:"machine"`
	Figures map[string]figure `json:"figures"`
}

// readMeasured reads a file of figures. One that does not exist has none, of this machine.
func readMeasured(path string) (measured, error) {
	m := measured{Machine: report.Machine(), Figures: make(map[string]figure)}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	return m, err
}

// mayRecord says before a run why its figures may not be in the file, if so.
func mayRecord(path string, full bool) error {
	if path == "" {
		return nil
	}
	if !full {
		return errors.New("a light run does less than the README says: add -endurance.full")
	}
	m, err := readMeasured(path)
	if err == nil && m.Machine != report.Machine() {
		err = fmt.Errorf("%s was measured on %s, and this is %s: remove it and measure everything", path, m.Machine, report.Machine())
	}
	return err
}

// record sets one figure in the file, which keeps the others.
func record(path, name string, f figure) error {
	m, err := readMeasured(path)
	if err != nil {
		return err
	}
	m.Figures[name] = f
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// Tests that a light run allows noise to times alone, and most to those that the race
// detector makes longer.
func TestLimit(t *testing.T) {
	for _, test := range []struct {
		unit string
		goal float64
		race bool
		want float64
	}{
		{unit: "requests", goal: 1, want: 1},
		{unit: "KiB", goal: 256, race: true, want: 256},
		{unit: "", goal: 0, race: true, want: 0},
		{unit: "ms", goal: 5, want: 15},
		{unit: "ms", goal: 5, race: true, want: 60},
		{unit: "MB", goal: 15, want: 22.5},
	} {
		if got := limit(test.unit, test.goal, test.race); got != test.want {
			t.Errorf("limit(%q, %v, race %t) = %v, want %v", test.unit, test.goal, test.race, got, test.want)
		}
	}
}

// Tests that a figure replaces the one of its name and no other.
func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "measured.json")
	must(t, record(path, "a", figure{Value: 1, Unit: "ms", Goal: new(2.)}))
	must(t, record(path, "b", figure{Value: 3}))
	must(t, record(path, "a", figure{Value: 4, Race: true}))
	got, err := readMeasured(path)
	must(t, err)
	want := measured{Machine: report.Machine(), Figures: map[string]figure{"a": {Value: 4, Race: true}, "b": {Value: 3}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Tests that neither a light run nor another machine gets into a file of figures.
func TestMayRecord(t *testing.T) {
	dir := t.TempDir()
	absent, here, elsewhere := filepath.Join(dir, "absent"), filepath.Join(dir, "here"), filepath.Join(dir, "elsewhere")
	must(t, record(here, "a", figure{}))
	must(t, os.WriteFile(elsewhere, []byte(`{"machine": "1 core"}`), 0o600))
	for _, test := range []struct {
		path string
		full bool
		want bool
	}{
		{"", false, true}, {"", true, true},
		{absent, false, false}, {absent, true, true},
		{here, false, false}, {here, true, true},
		{elsewhere, true, false},
	} {
		if err := mayRecord(test.path, test.full); (err == nil) != test.want {
			t.Errorf("mayRecord(%q, full %v) = %v, want an error: %v", test.path, test.full, err, !test.want)
		}
	}
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
