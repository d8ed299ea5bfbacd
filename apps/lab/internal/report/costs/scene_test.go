package costs_test

import (
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

func at(minute int) time.Time { return time.Date(2026, 8, 1, 10, minute, 0, 0, time.UTC) }

// run is one run with those strategies.
func run(strategies ...report.Strategy) report.Result {
	return report.Result{
		Started: at(0), Finished: at(10), Cluster: "builtin", Machine: report.Machine{CPUs: 2, Kernel: "6.1"},
		Versions: map[string]string{"kubernetes": "v1"}, Strategies: strategies,
	}
}

// measured is a strategy whose two turns took from p50 - 1 to p50 + 1 ms, and at
// p99 ten times as long.
func measured(name string, p50 float64, changes ...func(*report.Strategy)) report.Strategy {
	s := report.Strategy{
		Name: name, Balancer: "who balances " + name, Status: report.Ran, Idle: &report.Idle{Servers: 6},
		Spread: []report.ClientSpread{{Client: "c1", Servers: map[string]int64{"s1": 30, "s2": 50, "s3": 20}}},
		Cost: &report.Cost{
			Rate: 300,
			Turns: []report.Turn{
				{P50Millis: p50 - 1, P99Millis: 10 * (p50 - 1), CPU: map[string]float64{"client": 100, "server": 50}},
				{P50Millis: p50 + 1, P99Millis: 10 * (p50 + 1), CPU: map[string]float64{"client": 140, "server": 70}},
			},
			Proxies: report.Proxies{AppPods: 6}, Figures: map[string]float64{report.Memory: 0, report.Connections: 3, report.OtherNode: .5},
			NewPods: &report.NewPods{Called: 9, Pairs: 9, SlowestSeconds: .5, WatchedSeconds: 13},
			Failed:  map[string]report.Failed{"server-leaves": {Calls: 1000}},
			Change:  report.Change{Args: []string{}, Rights: []string{}},
		},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

// unable is a strategy that one run could not measure.
func unable(name, reason string) report.Strategy {
	return report.Strategy{Name: name, Balancer: "who balances " + name, Status: report.NotRun, Reason: reason}
}

func once(f float64) *costs.Spread { return &costs.Spread{Min: f, Median: f, Max: f} }

// figure sets one of a row's figures, or takes it away.
func figure(name string, s *costs.Spread) func(*costs.Row) {
	return func(r *costs.Row) {
		if delete(r.Figures, name); s != nil {
			r.Figures[name] = *s
		}
	}
}

// row is what the table says of a strategy that one run measured as measured
// has it, beside a baseline of 2 ms.
func row(name string, p50 float64, changes ...func(*costs.Row)) costs.Row {
	r := costs.Row{
		Strategy: name, Balancer: "who balances " + name, Runs: 1, Shares: []float64{50, 30, 20}, Idle: &report.Idle{Servers: 6},
		CPU: map[string]costs.Spread{"client": *once(120), "server": *once(60)},
		P50: once(p50), P99: once(10 * p50), AddedP50: once(p50 - 2), AddedP99: once(10 * (p50 - 2)),
		NewPods: once(.5), Called: 9, Pairs: 9, Watched: 13,
		Failed:  map[string]report.Failed{"server-leaves": {Calls: 1000}},
		Figures: map[string]costs.Spread{report.Memory: *once(0), report.Connections: *once(3), report.OtherNode: *once(.5)}, Change: report.Change{Args: []string{}, Rights: []string{}},
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}
