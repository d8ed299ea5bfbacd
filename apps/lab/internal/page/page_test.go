package page_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/browsertest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// result has strategies with an experiment each, of so many seconds and pods of that name.
func result(strategies, seconds int, pod string) report.Result {
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	r := report.Result{Schema: report.Schema, Command: "go run ./apps/lab run", Started: start, Finished: at(seconds), Cluster: "builtin", Versions: map[string]string{"kubernetes": "v1"}}
	for i := range strategies {
		name := fmt.Sprintf("s-%d", i)
		t := report.Timeline{Start: start, StepSeconds: 1, Bins: seconds, Clients: []string{"a", "b", "c"}, Failed: make(report.Bins, seconds), Closed: make(report.Bins, seconds)}
		for n := range 6 {
			l := report.Lane{Server: fmt.Sprintf("%s-%d", pod, n), Ready: at(n), FirstCall: at(n + 1), Calls: map[string]report.Bins{}}
			for k, c := range t.Clients {
				l.Calls[c] = make(report.Bins, seconds)
				for bin := range seconds {
					l.Calls[c][bin] = int64((bin*7 + n*3 + k) % 11)
				}
			}
			t.Lanes = append(t.Lanes, l)
		}
		r.Strategies = append(r.Strategies, report.Strategy{Name: name, Balancer: "the client", Status: report.Ran, Timeline: &t})
		r.Experiments = append(r.Experiments, report.Experiment{
			Name: "scale-out", Strategy: name, Status: report.Measured, Change: "scale " + pod, Begin: at(1), Changed: at(2), End: at(seconds),
			Findings: []report.Finding{{Text: "no call fails", Holds: true, Measured: "0"}}, Journal: []report.Entry{{Time: at(2), Text: "scale " + pod}},
		})
		r.Claims = append(r.Claims, report.Claim{ID: i, Strategy: name, Status: report.Proven, Text: "it spreads", Measured: "evenly", Limit: "Jain >= 0.9"})
	}
	r.Strategies = append(r.Strategies, report.Strategy{Name: "linkerd", Balancer: "a proxy", Status: report.NotRun, Reason: "no image"})
	r.Claims = append(r.Claims, report.Claim{ID: 99, Strategy: "argocd", Status: report.Refuted, Text: "it syncs", Measured: "not in 1 min", Limit: "30 s", Before: []report.Attempt{{Status: report.NotRun, Outcome: "busy"}}})
	return r
}

func written(t *testing.T, r report.Result, moved *report.Moved) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, r, page.Beside{Moved: moved}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page needs nothing else, is small, and takes text for text.
func TestWrite(t *testing.T) {
	html := written(t, result(9, 60, "<script>alert(1)</script>"), nil)
	const most = 1 << 20
	if len(html) > most {
		t.Errorf("%d bytes, want at most %d", len(html), most)
	}
	for _, wrong := range []string{"<script", "http://", "https://", " src=", "@import", "url("} {
		if strings.Contains(strings.ReplaceAll(html, "http://www.w3.org/2000/svg", ""), wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
	for _, want := range []string{"go run ./apps/lab run", "9 of 10 claims proven, 1 refuted", "not in 1 min", "Not run: no image", "earlier attempt: not run: busy"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(html, `class="lanes"`); n != 9 {
		t.Errorf("%d pictures, want one for each experiment", n)
	}
}

// An experiment of an attempt that was repeated has no picture: the timeline is the last
// attempt's. Ten thousand journal entries are drawn too.
func TestWriteWithoutPicture(t *testing.T) {
	r := result(1, 10, "pod")
	early := r.Experiments[0]
	early.Begin, early.Changed, early.End = start.Add(-time.Hour), start.Add(-time.Hour), start.Add(-time.Hour)
	for i := range 10_000 {
		early.Journal = append(early.Journal, report.Entry{Time: start, Text: fmt.Sprint(i)})
	}
	r.Experiments = append(r.Experiments, early)
	if n := strings.Count(written(t, r, nil), `class="lanes"`); n != 1 {
		t.Errorf("%d pictures, want that of the last attempt", n)
	}
}

// A browser shows the page: it fits a phone, everybody can use it, and a table has what a
// picture has.
func TestInBrowser(t *testing.T) {
	browser := browsertest.Open(t)
	r := result(2, 30, "echo-server-5d9")
	moved, err := r.Against(result(3, 30, "echo-server-5d9"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(written(t, r, moved)), 0o600); err != nil {
		t.Fatal(err)
	}
	browser.Do("opening the page", chromedp.Navigate("file://"+file))
	browser.Check("report")
	if rows := browsertest.Value[float64](browser, `document.querySelector("details table tbody").rows.length`); rows != 6 {
		t.Errorf("the table beside a picture has %.0f rows, want 6 pods", rows)
	}
	browser.Do("opening a table by keyboard", chromedp.Evaluate(`document.querySelector("summary").focus()`, nil), chromedp.KeyEvent(" "))
	if !browsertest.Value[bool](browser, `document.querySelector("details").open`) {
		t.Error("a key does not open the table")
	}
}
