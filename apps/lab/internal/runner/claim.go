package runner

import (
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Claim is a sentence about a strategy, decided by measurement.
type Claim struct {
	// ID is never given twice.
	ID   int
	Text string
	// Goal is what a machine of its own should reach, 0 where the limit is none in
	// time.
	Goal time.Duration
	// Static claims are about the rendering alone: they are judged where the
	// strategy cannot run too.
	Static bool
	// Own claims are about this repository's overlay, and not about those that
	// follow it.
	Own bool
	Criterion
}

// Criterion is a limit and the function that decides by it.
type Criterion struct {
	Limit Limit
	// Evaluate is pure, and refutes what it cannot prove.
	Evaluate func(*observe.Facts) Verdict
}

// Limit is what a measurement is compared with. It leaves room for a machine that
// is five times slower.
type Limit interface {
	// Sentence prints the limit for a cluster with this DNS.
	Sentence(observe.DNS) string
}

// Verdict is the outcome of a claim.
type Verdict struct {
	Status   report.Status // report.Proven, Refuted or NotRun
	Measured string
	// Figure is the number that decides, with its unit, for a table.
	Figure string
	Reason observe.Reason // of NotRun
}

// Judge evaluates the claim, or says why it could not be when reason is given.
func (c Claim) Judge(f *observe.Facts, reason observe.Reason) report.Claim {
	v := NotRunFor(reason)
	if reason == (observe.Reason{}) || c.Static {
		v = c.Evaluate(f)
	}
	goal := ""
	if c.Goal != 0 {
		goal = Seconds(c.Goal)
	}
	return report.Claim{
		ID: c.ID, Strategy: f.Strategy, Text: c.Text, Limit: c.Limit.Sentence(f.DNS), Goal: goal,
		Status: v.Status, Figure: v.Figure, Measured: v.Measured, Reason: v.Reason.Text,
		OutOfReach: v.Status == report.NotRun && v.Reason.Kind == observe.OutOfReach,
	}
}

// Decided proves or refutes.
func Decided(proven bool, format string, args ...any) Verdict {
	v := Verdict{Status: report.Refuted, Measured: fmt.Sprintf(format, args...)}
	if proven {
		v.Status = report.Proven
	}
	return v
}

// With adds the figure.
func (v Verdict) With(format string, args ...any) Verdict {
	v.Figure = fmt.Sprintf(format, args...)
	return v
}

// NotRun says that what would decide was not measured.
func NotRun(format string, args ...any) Verdict {
	return NotRunFor(observe.Reason{Text: fmt.Sprintf(format, args...)})
}

// NotRunFor does the same with a reason that was noted earlier.
func NotRunFor(why observe.Reason) Verdict { return Verdict{Status: report.NotRun, Reason: why} }

// Seconds prints a duration as the table does: "10 s", "0.21 s".
func Seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
