package endurance_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// row is one of the README's table. In its texts ${name} stands for a figure.
type row struct {
	what     string
	run      string // what measures it: the value of -run, and flags
	measured string
}

var rows = []row{
	{"${soak.cuts.count} cut (end, reset, 410, compaction): growth", "Soak -race", "${soak.cuts.goroutines}, heap ${soak.cuts.heap}"},
	{"1,000 channels opened and closed: growth; Close p99", "Soak -race", "${soak.open.goroutines}, heap ${soak.open.heap}; ${soak.close.p99}"},
	{"a channel 1,000 times idle and back: growth; first call p99, to the API server", "IdleCycles",
		"${idle.goroutines}, heap ${idle.heap}; ${idle.first_call.p99}, ${idle.requests}"},
	{"API server down for 3 s", "Outage", "${outage.short.failed} of ${outage.short.calls} failed, recovered after ${outage.short.recovered}"},
	{"API server down for 10 min", "Outage", "${outage.long.failed} of ${outage.long.calls} failed, recovered after ${outage.long.recovered}"},
	{"the same in simulated time", "Outage", "${outage.simulated.failed} of ${outage.simulated.calls} failed, recovered after ${outage.simulated.recovered}"},
	{"rolling restart at 2,000 calls/s, no retries", "Rollout", "${rollout.failed} of ${rollout.calls} failed, ${rollout.pods} replaced"},
	{"zone hints under calls", "ZoneHints",
		"${hints.failed} of ${hints.calls} failed, ${hints.crossed} went to other zones while a local pod was ready"},
	{"the hints are lost: until all pods were called, p99", "ZoneHints", "${hints.spread.p99}, ${hints.spread_amid_changes.p99} amid other changes"},
	{"10,000 endpoints in 100 channels", "Scale", "all after ${scale.start.all}, heap ${scale.heap}, ${scale.watches}"},
	{"a rollout of all: ${scale.rollout.writes} in ${scale.rollout.length}, 100 channels", "Scale",
		"${scale.rollout.updates} a channel, last lag ${scale.rollout.lag}, ${scale.rollout.cpu}, ${scale.rollout.watches}"},
	{"an event on the wire, per endpoint of its slice", "Scale", "${scale.bytes} as Kubernetes 1.37 compresses it, ${scale.bytes_uncompressed} without"},
	{"1,000 pods, 4,000 events in 60 s, without a balancer", "Storm", "${storm.resolver.updates}, last lag ${storm.resolver.lag}, ${storm.resolver.cpu}"},
	{"the same with round_robin, and with channelz on, which formats every update as text", "Storm",
		"${storm.round_robin.updates}, last lag ${storm.round_robin.lag}, ${storm.round_robin.cpu}; ${storm.round_robin.update_state} in each of gRPC's UpdateState"},
	{"a minimal client, stripped; resident after the first call", "MinimalClient",
		"${minimal.size}; ${minimal.resident}, ${minimal.resident.own} of it its own, the rest pages of the program"},
	{"the same, built with `-tags grpcnotrace`", "MinimalClient",
		"${minimal.grpcnotrace.size}; ${minimal.grpcnotrace.resident}, ${minimal.grpcnotrace.resident.own} of it its own"},
}

// command is what measures figures.
func command(run string) string {
	return "go -C apps/k8sresolver/bench test ./endurance -v -timeout 30m -endurance.full -endurance.json measured.json -run " + run
}

// Tests that the README's table is that of the committed figures, and that the README
// has the commands that measure them.
func TestReadme(t *testing.T) {
	m, err := readMeasured("measured.json")
	must(t, err)
	table, err := m.table(rows)
	must(t, err)
	got, err := os.ReadFile("README.md")
	must(t, err)
	want, err := report.Replace(string(got), "figures", table)
	must(t, err)
	if *update {
		must(t, os.WriteFile("README.md", []byte(want), 0o644))
	} else if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("README.md is not what measured.json gives; go -C apps/k8sresolver/bench test ./endurance -run Readme -update writes it (-want +got):\n%s", diff)
	}
	for _, r := range rows {
		if !strings.Contains(want, command(r.run)+" ") {
			t.Errorf("README.md lacks the command %s", command(r.run))
		}
	}
}

// Tests that the resolver's README calculates with the figures that were measured.
func TestReadme_Arithmetic(t *testing.T) {
	m, err := readMeasured("measured.json")
	must(t, err)
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	const pods, clients, slice, events, hour = 20_000, 5_000, 100, 80_000, 3600
	plain, compressed := m.Figures["scale.bytes_uncompressed"].Value, m.Figures["scale.bytes"].Value
	saved := 1 - m.Figures["minimal.grpcnotrace.size"].Value/m.Figures["minimal.size"].Value
	for _, want := range []string{
		fmt.Sprintf("[%.0f bytes](bench/endurance) an endpoint or %.0f kB a slice", plain, plain*slice/1e3),
		fmt.Sprintf("%.1f MB = %.0f GB", plain*pods/1e6, plain*pods*clients/1e9),
		fmt.Sprintf("× %.0f kB × 5,000 / 3,600 s = %.1f GB/s", plain*slice/1e3, plain*slice*events*clients/hour/1e9),
		fmt.Sprintf("to %.0f bytes an endpoint | 5,000 | %.1f GB | %.2f GB/s", compressed, compressed*pods*clients/1e9, compressed*slice*events*clients/hour/1e9),
		fmt.Sprintf("| 20,000 | %.0f GB | %.1f GB/s |", 4*plain*pods*clients/1e9, 4*plain*slice*events*clients/hour/1e9),
		fmt.Sprintf("makes a stripped client %.0f %% smaller", 100*saved),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("k8sresolver's README lacks %q, which measured.json gives", want)
		}
	}
}

// table returns the rows in Markdown. That a goal has no row is an error, since none
// would see it missed.
func (m measured) table(rows []row) (string, error) {
	var b strings.Builder
	b.WriteString("| | `-run` | measured | goal |\n|---|---|---|---|\n")
	shown := make(map[string]bool)
	for _, r := range rows {
		var goals []string
		var err error
		expand := func(name string) string {
			f, ok := m.Figures[name]
			if !ok || f.Race != strings.Contains(r.run, " -race") {
				err = fmt.Errorf("measured.json has no %s as this measures it: %s", name, command(r.run))
				return ""
			}
			shown[name] = true
			text := quantity(f.Value, f.Unit)
			if f.Goal == nil {
				return text
			}
			goals = append(goals, quantity(*f.Goal, f.Unit))
			if f.Value > *f.Goal {
				return "**" + text + "**"
			}
			return text
		}
		what, values := os.Expand(r.what, expand), os.Expand(r.measured, expand)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", what, r.run, values, strings.Join(slices.Compact(goals), "; "))
	}
	for name, f := range m.Figures {
		if f.Goal != nil && !shown[name] {
			return "", fmt.Errorf("measured.json has %s, which has a goal and is in no row of the README", name)
		}
	}
	fmt.Fprintf(&b, "\nMeasured on %s.\n", m.Machine)
	return b.String(), nil
}

// quantity returns a value of three digits, or all of a larger one's, with its unit.
func quantity(value float64, unit string) string {
	text := fmt.Sprintf("%.3g", value)
	if value >= 100 {
		text = strconv.FormatFloat(value, 'f', 0, 64)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
	}
	return strings.TrimSuffix(text+" "+unit, " ")
}

// Tests the table of a few figures: missed goals are bold.
func TestMeasured_Table(t *testing.T) {
	m := measured{Machine: "2 cores", Figures: map[string]figure{
		"calls": {Value: 1_234_567, Unit: "calls"}, "failed": {Value: 0, Goal: new(0.)}, "after": {Value: 1.0449, Unit: "s", Goal: new(1.)},
	}}
	got, err := m.table([]row{{"an outage", "Outage", "${failed} of ${calls} failed, recovered after ${after}"}})
	must(t, err)
	if diff := cmp.Diff("| | `-run` | measured | goal |\n|---|---|---|---|\n"+
		"| an outage | `Outage` | 0 of 1,234,567 calls failed, recovered after **1.04 s** | 0; 1 s |\n\nMeasured on 2 cores.\n", got); diff != "" {
		t.Errorf("table() (-want +got):\n%s", diff)
	}
}

// Tests that there is no table when a figure is missing or not measured as its row
// says, or when a goal is in no row; the error tells the command or the figure.
func TestMeasured_TableIncomplete(t *testing.T) {
	for name, test := range map[string]struct {
		figures map[string]figure
		run     string
		want    string
	}{
		"missing":        {nil, "Storm", command("Storm")},
		"with race":      {map[string]figure{"a": {Race: true}}, "Storm", command("Storm")},
		"without race":   {map[string]figure{"a": {}}, "Soak -race", command("Soak -race")},
		"goal in no row": {map[string]figure{"a": {}, "b": {Goal: new(1.)}}, "Storm", "has b"},
	} {
		t.Run(name, func(t *testing.T) {
			if table, err := (measured{Figures: test.figures}).table([]row{{"it", test.run, "${a}"}}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("table() = %q, %v, want an error with %q", table, err, test.want)
			}
		})
	}
}
