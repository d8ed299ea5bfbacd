package strategy

import (
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// figures are measured in the steady state or in a strategy's last turn; nil is not
// measured.
var figures = map[string]func(f *observe.Facts, last Turn) *float64{
	report.Connections: connections,
	report.OtherNode:   otherNode,
	report.Memory:      addedMemory,
	report.Handshakes:  handshakesAtRestart,
}

// cost sums up what a strategy costs, as far as it was measured; nil without a
// turn.
func cost(f *observe.Facts, change report.Change) (*report.Cost, error) {
	seen := observe.EvidenceOf[*TurnsTaken](f, Turns)
	if seen == nil || len(seen.Turns) == 0 {
		return nil, nil
	}
	c := &report.Cost{Figures: map[string]float64{}, Rate: turnRate * float64(len(f.Phases[Turns].Clients)), Change: change, Encrypted: seen.Handshakes.all() || allVerified(f)}
	for _, t := range seen.Turns {
		windows := windowsIn(f, t)
		turn := report.Turn{CPU: map[string]float64{}}
		counted, measured := int64(0), time.Duration(0)
		for _, w := range windows {
			counted += w.Calls
			measured += w.End.Sub(w.Start)
		}
		turn.Failed = observe.Failures(windows)
		calls, err := latencies(windows)
		if err != nil {
			return nil, err
		}
		if calls.Count() == 0 {
			continue
		}
		if turn.LatencyHDR, err = calls.Encode(); err != nil {
			return nil, err
		}
		turn.P50Millis, turn.P99Millis = calls.Percentiles().P50, calls.Percentiles().P99
		// The loop is open: what the clients called in whole windows tells the
		// rate, and that how many calls the containers worked for.
		turn.Rate = float64(counted) / measured.Seconds() * float64(len(f.Phases[Turns].Clients))
		for part, used := range t.CPU {
			turn.CPU[part] = 1000 * used.Seconds() * 1000 / (turn.Rate * t.To.Sub(t.From).Seconds())
		}
		c.Turns = append(c.Turns, turn)
	}
	last := seen.Turns[len(seen.Turns)-1]
	c.Proxies = proxies(f, last)
	for name, measure := range figures {
		if value := measure(f, last); value != nil {
			c.Figures[name] = *value
		}
	}
	c.NewPods = newPodsOf(f)
	c.Failed = map[string]report.Failed{}
	for _, name := range []string{ServerLeaves, RollingRestart, Kill} {
		if p, _ := f.Phase(name); p != nil {
			failed, all := f.Failed(p)
			c.Failed[name] = report.Failed{Failed: failed, Calls: all, Late: late(f, p)}
		}
	}
	return c, nil
}

func newPodsOf(f *observe.Facts) *report.NewPods {
	if out, _ := f.Phase(ScaleOut); out != nil {
		return newPods(f, out)
	}
	return nil
}

// proxies counts the containers that are neither client nor server: those beside
// them in their pods, and those in pods of their own.
func proxies(f *observe.Facts, t Turn) report.Proxies {
	var p report.Proxies
	for _, pod := range observe.Keys(t.Memory) {
		beside := false
		for name := range t.Memory[pod] {
			beside = beside || name == f.Client || name == f.Server
		}
		if beside {
			p.AppPods++
		} else {
			p.Pods++
		}
		for name := range t.Memory[pod] {
			if beside && name != f.Client && name != f.Server {
				p.Beside++
			}
		}
	}
	return p
}

func addedMemory(f *observe.Facts, t Turn) *float64 {
	var bytes int64
	for _, containers := range t.Memory {
		for name, memory := range containers {
			if name != f.Client && name != f.Server {
				bytes += memory
			}
		}
	}
	return new(float64(bytes) / (1 << 20) / float64(max(proxies(f, t).AppPods, 1)))
}

// connections returns how many each client holds.
func connections(f *observe.Facts, t Turn) *float64 {
	var sum, n int64
	for _, w := range windowsIn(f, t) {
		sum, n = sum+w.Connections, n+1
	}
	return new(float64(sum) / float64(max(n, 1)))
}

// handshakesAtRestart returns how many handshakes each client made while the servers were
// restarted.
func handshakesAtRestart(f *observe.Facts, _ Turn) *float64 {
	restart, _ := f.Phase(RollingRestart)
	if restart == nil || len(restart.Clients) == 0 || !allVerified(f) {
		return nil
	}
	var made int64
	for _, name := range restart.Clients {
		for _, w := range f.Clients[name].Between(restart.Begin, restart.End) {
			made += w.Verified
		}
	}
	return new(float64(made) / float64(len(restart.Clients)))
}

// allVerified tells whether all clients called, and verified their servers.
func allVerified(f *observe.Facts) bool {
	for _, c := range f.Clients {
		if unverified(c) != "" {
			return false
		}
	}
	return len(f.Clients) > 0
}

// otherNode is the share of the steady state's calls that were answered on
// another node than the client's, nil where the nodes are not known.
func otherNode(f *observe.Facts, _ Turn) *float64 {
	steady, _ := f.Phase(Steady)
	if steady == nil || len(f.Nodes) == 0 {
		return nil
	}
	var other, all int64
	for _, name := range steady.Clients {
		for server, n := range observe.Calls(f.Clients[name].Between(steady.Begin, steady.End)) {
			all += n
			if f.Nodes[server] != f.Nodes[name] {
				other += n
			}
		}
	}
	if all == 0 {
		return nil
	}
	return new(float64(other) / float64(all))
}

func late(f *observe.Facts, p *observe.Phase) (late int64) {
	for _, name := range p.Clients {
		late += lateness(f.Clients[name].Between(p.Begin, p.End))
	}
	return late
}
