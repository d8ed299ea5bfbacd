package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// A claim is printed when it is proven, once, and no other.
func TestPrintProven(t *testing.T) {
	var out bytes.Buffer
	judged := printProven(progress.NewPrinter(&out, 1, 0), report.Style{})
	proven := report.Claim{ID: 2, Strategy: "l4", Status: report.Proven, Text: "a client stays on one server"}
	refuted := report.Claim{ID: 3, Strategy: "l4", Status: report.Refuted, Text: "a scale-out changes nothing"}
	judged([]report.Claim{proven, refuted})
	judged([]report.Claim{proven})
	if got := out.String(); strings.Count(got, proven.Text) != 1 || strings.Contains(got, refuted.Text) {
		t.Errorf("printed %q, want the proven claim once", got)
	}
}
