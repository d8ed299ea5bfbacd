package main

import (
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// printProven prints claims between the steps as they are proven, each once.
func printProven(r *progress.Printer, style report.Style) func([]report.Claim) {
	type name struct {
		id       int
		strategy string
	}
	var mu sync.Mutex
	printed := map[name]bool{}
	return func(claims []report.Claim) {
		mu.Lock()
		defer mu.Unlock()
		var proven []report.Claim
		for _, c := range claims {
			if n := (name{c.ID, c.Strategy}); c.Status == report.Proven && !printed[n] {
				printed[n] = true
				proven = append(proven, c)
			}
		}
		r.Print(report.Claims(proven, style))
	}
}
