package lanes_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/lanes"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func picture(server string) lanes.Picture {
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	return lanes.Picture{
		ID: "p-x", Title: "l4: scale-out", Text: "one <pod> gets everything",
		Marks: []lanes.Mark{{At: at(2), Text: "scale <out> & on"}, {At: at(99), Text: "never drawn"}},
		Zero:  at(2),
		Timeline: report.Timeline{
			Start: start, StepSeconds: 1, Bins: 4, Clients: []string{"a", "b"},
			Failed: report.Bins{0, 0, 2, 0}, Closed: report.Bins{0, 0, 0, 0},
			Lanes: []report.Lane{
				{Server: server, Ready: at(-1), Left: at(3), FirstCall: at(1), Calls: map[string]report.Bins{"a": {0, 5, 5, 0}, "b": {0, 0, 5, 0}}},
				{Server: "echo-server-abc-new", Ready: at(3), Calls: map[string]report.Bins{}},
			},
		},
	}
}

// texts returns the texts of a drawing, and fails if it is no XML.
func texts(t *testing.T, svg string) (all []string, elements map[string]int) {
	t.Helper()
	elements = map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, elements
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
		switch v := token.(type) {
		case xml.StartElement:
			elements[v.Name.Local]++
		case xml.CharData:
			if text := strings.TrimSpace(string(v)); text != "" {
				all = append(all, text)
			}
		}
	}
}

// A drawing is XML, has a lane for each server, and takes names for texts, whatever they
// contain.
func TestInline(t *testing.T) {
	html, err := lanes.Inline(picture(`echo-server-abc-<script>alert("x")</script>`))
	if err != nil {
		t.Fatal(err)
	}
	all, elements := texts(t, string(html))
	joined := strings.Join(all, "\n")
	for _, want := range []string{"pod 1 · ", "pod 2 · new", "scale <out> & on", "one <pod> gets everything", "failed calls, ≤ 2/s", "time (s); a full lane is 10 calls/s", "client 2"} {
		if !strings.Contains(joined, want) {
			t.Errorf("lacks %q:\n%s", want, joined)
		}
	}
	if elements["script"] > 0 || strings.Contains(joined, "never drawn") || strings.Contains(joined, "closed connections") {
		t.Errorf("it has a script, a mark outside of its time, or a row without a count: %v\n%s", elements, joined)
	}
	if elements["circle"] != 2 { // a first call, and the legend
		t.Errorf("%d first calls, want one and the legend's", elements["circle"])
	}
}

// Pictures of one file stand below each other and share their scale.
func TestFile(t *testing.T) {
	busy := picture("a")
	busy.ID, busy.Timeline.Lanes[0].Calls = "p-y", map[string]report.Bins{"a": {40, 40, 40, 40}}
	var b bytes.Buffer
	if err := lanes.File(&b, picture("a"), busy); err != nil {
		t.Fatal(err)
	}
	all, elements := texts(t, b.String())
	if n := strings.Count(strings.Join(all, "\n"), "a full lane is 40 calls/s"); n != 2 || elements["svg"] != 3 {
		t.Errorf("%d pictures have the scale of both, in %d elements; want 2 in 3\n%s", n, elements["svg"], strings.Join(all, "\n"))
	}
}

// A timeline without a bin, a lane or a call is drawn too.
func TestNothing(t *testing.T) {
	for _, timeline := range []report.Timeline{{}, {StepSeconds: 1}, {Start: start, StepSeconds: 1, Bins: 3, Clients: []string{"a"}, Failed: make(report.Bins, 3), Closed: make(report.Bins, 3), Lanes: []report.Lane{{Server: "s", Ready: start}}}} {
		html, err := lanes.Inline(lanes.Picture{ID: "p", Timeline: timeline})
		if err != nil {
			t.Error(err)
		}
		texts(t, string(html))
	}
}
