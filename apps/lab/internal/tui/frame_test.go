package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
)

var start = time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// pinned is a strategy with a busy pod, an idle one and one that has gone.
func pinned(name string) stage.Strategy {
	counts := func(n int64, from, to int) report.Bins {
		b := make(report.Bins, 12)
		for i := from; i < to; i++ {
			b[i] = n
		}
		return b
	}
	return stage.Strategy{
		Name: name, Balancer: "kube-proxy", Running: true, Counted: after(10),
		Timeline: &report.Timeline{Start: start, StepSeconds: 1, Bins: 12, Clients: []string{"c"}, Lanes: []report.Lane{
			{Server: "echo-server-1-busy", Ready: start, Calls: map[string]report.Bins{"c": counts(20, 0, 10)}},
			{Server: "echo-server-1-idle", Ready: after(4), Calls: map[string]report.Bins{}},
			{Server: "echo-server-1-left", Ready: start, Left: after(3), Calls: map[string]report.Bins{"c": counts(5, 0, 3)}},
			{Server: "echo-server-1-soon", Ready: after(10.5), FirstCall: after(11.2), Calls: map[string]report.Bins{}},
		}},
		Marks:   []report.Entry{{Time: after(2), Text: "scale out"}},
		Actions: []stage.Offer{{Name: "scale-out", Text: "scale out"}, {Name: "kill", Text: "kill", Off: "out of reach"}},
	}
}

// A lane shows the calls of each second, the seconds without a call, and a first call before
// the calls are counted. It ends at the right edge, and a mark is above its second.
func TestLanes(t *testing.T) {
	before := strings.Repeat(" ", 60-nameWidth-rateWidth-12)
	got := ansi.Strip(screen{width: 60, height: 24}.frame(stage.View{Strategies: []stage.Strategy{pinned("l4")}}))
	for _, want := range []string{
		"\n" + before + "          ▾scale out\n",
		"\n  busy  " + before + "██████████       20/s\n",
		"\n  idle  " + before + "   ·······        0/s\n",
		"\n  left  " + before + "▂▂▂              gone\n",
		"\n  soon  " + before + "           ▁      0/s\n",
		"1: scale out  2: kill (off)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the frame lacks %q:\n%s", want, got)
		}
	}
}

// A frame fits its screen, and what a cluster says does not steer the terminal.
func TestFits(t *testing.T) {
	v := stage.View{Journal: []report.Entry{{Time: start, Text: "failed: \x1b[2J\x07\nnext"}}}
	for i := range 5 {
		st := pinned(fmt.Sprintf("strategy-%d", i))
		st.Timeline.Lanes[0].Server = "<script>\x1b[31m"
		st.Silent = "silent \x1b[31m"
		st.InForce = []string{"the API server is away \x1b]0;x\x07"}
		v.Strategies = append(v.Strategies, st)
	}
	for _, size := range [][2]int{{80, 24}, {40, 10}, {20, 5}, {300, 100}, {0, 0}} {
		frame := screen{width: size[0], height: size[1], said: "\x1bc"}.frame(v)
		lines := strings.Split(frame, "\n")
		if len(lines) > max(size[1], 1) {
			t.Errorf("%dx%d: %d lines", size[0], size[1], len(lines))
		}
		for _, line := range lines {
			if w := ansi.StringWidth(line); w > max(size[0], minWidth) {
				t.Errorf("%dx%d: a line of %d columns: %q", size[0], size[1], w, line)
			}
		}
		for _, evil := range []string{"\x1b[2J", "\x1b[31m", "\x1b]0", "\x07", "\x1bc"} {
			if strings.Contains(frame, evil) {
				t.Errorf("%dx%d: the frame has %q", size[0], size[1], evil)
			}
		}
	}
	if got := (screen{width: 80, height: 24}).frame(stage.View{Strategies: []stage.Strategy{{Name: "l4", Reason: "no image"}, {Name: "dns"}}}); !strings.Contains(got, "not shown: no image") || !strings.Contains(got, "it starts") {
		t.Errorf("of strategies that do not run it says:\n%s", got)
	}
}

// A short screen shows pods of the chosen strategy, whatever the journal and the keys need.
func TestShort(t *testing.T) {
	v := stage.View{Journal: []report.Entry{{Time: start, Text: "l4 runs"}, {Time: start, Text: "dns runs"}}}
	for _, name := range []string{"l4", "dns", "k8s-api"} {
		st := pinned(name)
		for range 8 {
			st.Actions = append(st.Actions, stage.Offer{Name: "restart", Text: "restart all servers"})
		}
		v.Strategies = append(v.Strategies, st)
	}
	got := ansi.Strip(screen{width: 40, height: 10, chosen: 1}.frame(v))
	for _, want := range []string{"▸ dns", "  busy ", "q: end"} {
		if !strings.Contains(got, want) {
			t.Errorf("the frame lacks %q:\n%s", want, got)
		}
	}
}
