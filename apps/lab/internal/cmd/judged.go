package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// printJudged prints claims between the steps as they are judged, each again only if
// another attempt came to something else. Claims about one strategy that were not run for
// one reason take one line.
func printJudged(r *progress.Printer, style report.Style) func([]report.Claim) {
	type name struct {
		id       int
		strategy string
	}
	var mu sync.Mutex
	printed := map[name]report.Status{}
	return func(claims []report.Claim) {
		mu.Lock()
		defer mu.Unlock()
		var b strings.Builder
		missing := map[string]int{} // by strategy and reason
		var reasons []report.Claim
		for _, c := range claims {
			if n := (name{c.ID, c.Strategy}); printed[n] != c.Status {
				printed[n] = c.Status
				if c.Status != report.NotRun {
					b.WriteString(c.Line(style))
					continue
				}
				if missing[c.Strategy+c.Reason] == 0 {
					reasons = append(reasons, c)
				}
				missing[c.Strategy+c.Reason]++
			}
		}
		for _, c := range reasons {
			if n := missing[c.Strategy+c.Reason]; n > 1 {
				c.Text = fmt.Sprintf("this and %d more claims", n-1)
			}
			b.WriteString(c.Line(style))
		}
		r.Print(b.String())
	}
}
