package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// A claim is printed when it is judged, and again only if another attempt came to
// something else. One reason for several claims takes one line.
func TestPrintJudged(t *testing.T) {
	var out bytes.Buffer
	judged := printJudged(progress.NewPrinter(&out, 1, 0), report.Style{})
	proven := report.Claim{ID: 2, Strategy: "l4", Status: report.Proven, Text: "a client stays on one server", Measured: "3 clients: 1 server", Figure: "1 server"}
	refuted := report.Claim{ID: 3, Strategy: "l4", Status: report.Refuted, Text: "a scale-out changes nothing", Measured: "2 of 3 stayed"}
	again := refuted
	again.Status, again.Measured, again.Figure = report.Proven, "3 of 3 stayed", "3 of 3 stayed"
	lacking := func(id int) report.Claim {
		return report.Claim{ID: id, Strategy: "linkerd", Status: report.NotRun, Text: "it spreads", Reason: "no image\nat all"}
	}
	judged([]report.Claim{proven, refuted})
	judged([]report.Claim{proven, refuted})
	judged([]report.Claim{lacking(10), lacking(11), lacking(12)})
	judged([]report.Claim{again.Since(refuted)})
	const want = `✓  2 l4: a client stays on one server: 1 server
✗  3 l4: a scale-out changes nothing: refuted: 2 of 3 stayed
– 10 linkerd: this and 2 more claims: not run: no image
✓  3 l4: a scale-out changes nothing: 3 of 3 stayed
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
