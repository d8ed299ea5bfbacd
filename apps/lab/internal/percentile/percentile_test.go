package percentile_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/percentile"
)

// calls took 1, 2, 3 and so on milliseconds.
func calls(n int) *latency.Histogram {
	h := latency.New()
	for i := range n {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	return h
}

// texts returns the texts of a drawing and the paths by class, and fails if it is no XML or
// has a colour of its own.
func texts(t *testing.T, svg string) (all []string, paths map[string]int) {
	t.Helper()
	paths = map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, paths
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
		switch v := token.(type) {
		case xml.StartElement:
			for _, a := range v.Attr {
				if a.Name.Local == "class" {
					paths[strings.Fields(a.Value)[0]]++
				}
				if a.Name.Local == "style" && strings.Contains(a.Value, "rgb") {
					t.Errorf("%s has colours that are not the style sheet's: %s", v.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(v)); text != "" {
				all = append(all, text)
			}
		}
	}
}

// Axes have units and round ticks, as far as the calls tell: of 1000 calls, ten are slower
// than 99 %.
func TestInline(t *testing.T) {
	own, other := percentile.Curve{Name: "<b>", Calls: calls(1000)}, percentile.Curve{Name: "other", Calls: calls(20)}
	html, err := percentile.Inline(`"l4" & <others>`, percentile.ScaleOf(own, other), own, other)
	if err != nil {
		t.Fatal(err)
	}
	all, paths := texts(t, string(html))
	want := []string{"0", "50", "90", "99", "percentile of the calls (%)", "1 ms", "10 ms", "100 ms", "1000 ms"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	if paths["own"] != 1 || paths["behind"] != 1 || !strings.Contains(string(html), `aria-label="&#34;l4&#34; &amp; &lt;others&gt;"`) {
		t.Errorf("it lacks a curve or its label: %v\n%.200s", paths, html)
	}
}

// A narrow scale has ticks between the powers of ten.
func TestNarrow(t *testing.T) {
	own := percentile.Curve{Name: "l4", Calls: calls(60)}
	html, err := percentile.Inline("x", percentile.ScaleOf(own), own, percentile.Curve{})
	if err != nil {
		t.Fatal(err)
	}
	all, _ := texts(t, string(html))
	want := []string{"0", "50", "90", "percentile of the calls (%)", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// Of no call there is no picture, and of one call or equal ones none fails.
func TestLittle(t *testing.T) {
	for n, drawn := range map[int]bool{0: false, 1: false, 10: false, 40: true} {
		h := latency.New()
		for range n {
			h.Record(0)
		}
		own := percentile.Curve{Name: "l4", Calls: h}
		html, err := percentile.Inline("x", percentile.ScaleOf(own), own, percentile.Curve{})
		if err != nil || (html != "") != drawn || strings.Contains(string(html), "NaN") {
			t.Errorf("%d calls: %v, drawn: %v, want %v", n, err, html != "", drawn)
		}
		texts(t, string(html))
	}
}

// A percentile tells something if ten calls were slower.
func TestTells(t *testing.T) {
	for _, tt := range []struct {
		calls      int
		percentile float64
		want       bool
	}{{1000, 99, true}, {999, 99, false}, {10_000, 99.9, true}, {9_999, 99.9, false}, {20, 50, true}, {19, 50, false}, {0, 0, false}} {
		if got := percentile.Tells(calls(tt.calls), tt.percentile); got != tt.want {
			t.Errorf("%d calls tell p%v: %v, want %v", tt.calls, tt.percentile, got, tt.want)
		}
	}
}
