package runner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Claim is a sentence about strategies, decided by measurement.
type Claim struct {
	ID int
	// Strategies are those it is made about; nil means all.
	Strategies []string
	Text       string
	// Limit decides, with room for a machine five times slower; Goal is what a
	// machine of its own should reach.
	Limit func(observe.DNS) string
	Goal  string
	// Static claims are about the rendering alone: they are judged where the
	// strategy cannot run too.
	Static bool
	// Own claims are about this repository's overlay, and not about those that
	// follow it.
	Own bool
	// Evaluate decides. It is pure, and refutes what it cannot prove.
	Evaluate func(*observe.Facts) Verdict
}

// Verdict is the outcome of a claim.
type Verdict struct {
	Status   report.Status // report.Proven, Refuted or NotRun
	Measured string
	Reason   string // of NotRun
}

// Judge evaluates the claim, or says why it could not be when reason is given.
func (c Claim) Judge(f *observe.Facts, reason string) report.Claim {
	v := Verdict{Status: report.NotRun, Reason: reason}
	if reason == "" || c.Static {
		v = c.Evaluate(f)
	}
	beyond := v.Status == report.NotRun && slices.ContainsFunc(f.OutOfReach, func(reason string) bool { return strings.Contains(v.Reason, reason) })
	return report.Claim{
		OutOfReach: beyond,
		ID:         c.ID, Strategy: f.Strategy, Text: c.Text, Limit: c.Limit(f.DNS), Goal: c.Goal,
		Status: v.Status, Measured: v.Measured, Reason: v.Reason,
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

func NotRun(format string, args ...any) Verdict {
	return Verdict{Status: report.NotRun, Reason: fmt.Sprintf(format, args...)}
}

// Seconds prints a duration as the table does: "10 s", "0.21 s".
func Seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
