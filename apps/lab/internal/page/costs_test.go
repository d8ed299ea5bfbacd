package page_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/browsertest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

// histogram has so many calls, most of them about as long, some ten times as long.
func histogram(t *testing.T, calls int, typical time.Duration) string {
	t.Helper()
	h := latency.New()
	for i := range calls {
		slower := math.Pow(float64(calls)/float64(i+1), .4)
		h.Record(time.Duration(float64(typical) * slower))
	}
	text, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// table has the rows of the committed table, with a histogram each.
func table(t *testing.T) costs.Table {
	t.Helper()
	all, err := costs.Measured()
	if err != nil {
		t.Fatal(err)
	}
	all.Rows = append(all.Rows, costs.Row{Strategy: "none", Balancer: "nobody", NotRun: "no <image>"})
	for i := range all.Rows {
		if all.Rows[i].NotRun == "" {
			all.Rows[i].LatencyHDR = histogram(t, 3000, time.Millisecond+time.Duration(i)*200*time.Microsecond)
		}
	}
	return all
}

func costsWritten(t *testing.T, all costs.Table) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.WriteCosts(&b, all); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page of costs needs nothing else and is small. It has a picture for each strategy that
// was called, and the figures of each as a table.
func TestWriteCosts(t *testing.T) {
	all := table(t)
	html := costsWritten(t, all)
	const most = 1 << 20
	if len(html) > most {
		t.Errorf("%d bytes, want at most %d", len(html), most)
	}
	t.Logf("%d KiB, %d rows", len(html)>>10, len(all.Rows))
	for _, wrong := range []string{"<script", "http://", "https://", " src=", "@import", "url(", "NaN"} {
		if strings.Contains(strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/1999/xlink", "").Replace(html), wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
	for _, want := range []string{"not run: no &lt;image&gt;", " ms</text>", "percentile of the calls (%)", "99</text>", "2 CPUs", "Repeat it", "imports <code>"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	called := 0
	for _, r := range all.Rows {
		if r.NotRun == "" {
			called++
		}
	}
	if n := strings.Count(html, "<figure>"); n != called {
		t.Errorf("%d pictures, want %d", n, called)
	}
	if n := strings.Count(html, `class="behind `); n != called-1 {
		t.Errorf("%d pictures have the baseline behind, want all but its own: %d", n, called-1)
	}
	all.Rows = slices.DeleteFunc(all.Rows, func(r costs.Row) bool { return r.Strategy == costs.Baseline })
	if html := costsWritten(t, all); strings.Contains(html, "dashed") || !strings.Contains(html, "All pictures have the same axes.") {
		t.Error("without the baseline the page tells of its line, or not of the axes")
	}
}

// A table of an earlier lab has percentiles alone: they are shown, and no picture is made of
// them. A table of one row, of one call and of none at all is shown too.
func TestWriteCostsOfLittle(t *testing.T) {
	committed, err := costs.Measured()
	if err != nil {
		t.Fatal(err)
	}
	for i := range committed.Rows {
		committed.Rows[i].LatencyHDR = ""
	}
	html := costsWritten(t, committed)
	if strings.Contains(html, "<svg") || !strings.Contains(html, "percentiles alone") || !strings.Contains(html, fmt.Sprintf("<td>%.2f</td>", committed.Rows[0].P99.Median)) {
		t.Error("it has a picture, or lacks its percentiles, or does not say what is missing")
	}
	for _, calls := range []int{0, 1, 11} {
		html := costsWritten(t, costs.Table{Rows: []costs.Row{{Strategy: "l4", Runs: 1, LatencyHDR: histogram(t, calls, time.Second)}}})
		if want := fmt.Sprintf("<td>%d</td>", calls); calls > 0 && !strings.Contains(html, want) || strings.Contains(html, "NaN") {
			t.Errorf("%d calls: the page lacks %q, or has no number", calls, want)
		}
	}
}

// A run's report has the latencies of its strategies and of the baseline, and says that
// another measurement made them. Of strategies that it does not know it has none.
func TestLatenciesOfRun(t *testing.T) {
	all := table(t)
	r := result(1, 10, "pod")
	write := func() string {
		var b bytes.Buffer
		if err := page.Write(&b, r, page.Beside{Costs: &all}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if html := write(); strings.Contains(html, `id="latency"`) {
		t.Error("the report has latencies of strategies that are not in it")
	}
	r.Strategies = append(r.Strategies, report.Strategy{Name: "envoy", Balancer: "Envoy", Status: report.Ran})
	html := write()
	if n := strings.Count(html, "<figure>"); n != 2 || !strings.Contains(html, "This run did not measure it") {
		t.Errorf("%d pictures, want those of envoy and the baseline, and where they come from", n)
	}
}

// A browser shows the page of costs: it fits a phone, everybody can use it, light and dark.
func TestCostsInBrowser(t *testing.T) {
	browser := browsertest.Open(t)
	all := table(t)
	if file := os.Getenv("LAB_COSTS"); file != "" { // pictures of a measurement of yours
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = costs.Table{}
		if err := json.Unmarshal(content, &all); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "costs.html")
	if err := os.WriteFile(file, []byte(costsWritten(t, all)), 0o600); err != nil {
		t.Fatal(err)
	}
	browser.Do("opening the page", chromedp.Navigate("file://"+file))
	browser.Check("costs")
	if n := browsertest.Value[float64](browser, `[...document.querySelectorAll(".latency svg")].filter(s => s.getAttribute("aria-label").includes("Latency of") && s.getBoundingClientRect().height > 100).length`); n < 1 {
		t.Errorf("%.0f pictures are seen", n)
	}
	if browsertest.Value[bool](browser, `[...document.querySelectorAll(".latency text")].some(t => { const r = t.getBBox(), v = t.ownerSVGElement.viewBox.baseVal; return !t.getAttribute("transform") && (r.x < 0 || r.x + r.width > v.width || r.y < 0 || r.y + r.height > v.height) })`) {
		t.Error("a text is outside of its picture")
	}
}
