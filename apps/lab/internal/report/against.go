package report

import (
	"fmt"
	"math"
	"time"
)

// Moved is what differs between two results beyond noise.
type Moved struct {
	Since   time.Time // when the earlier one was measured
	Rule    string
	Changes []Moving
}

// Moving is one difference.
type Moving struct{ Strategy, What, Before, Now string }

// What differs by less than these is noise: a run measures once, and on a busy machine
// times vary by these factors.
const (
	noiseFactor  = 2
	noiseSeconds = 1
	noiseJain    = 0.05
)

// Against compares the result with an earlier one. It fails if they have no strategy in
// common.
func (r Result) Against(earlier Result) (*Moved, error) {
	m := &Moved{Since: earlier.Started, Rule: fmt.Sprintf("A claim moved if its outcome changed, a number of servers if it changed, the share of new pods that clients called if it changed, a time if it changed by more than a factor of %d and %d s, Jain's index if it changed by more than %.2f.", noiseFactor, noiseSeconds, noiseJain)}
	common := false
	for _, now := range r.Strategies {
		for _, before := range earlier.Strategies {
			if now.Name == before.Name {
				common = true
				m.row(before, now)
			}
		}
	}
	if !common {
		return nil, fmt.Errorf("the two results have no strategy in common: one has %s, the other %s", names(r.Strategies), names(earlier.Strategies))
	}
	for _, now := range r.Claims {
		for _, before := range earlier.Claims {
			if now.ID == before.ID && now.Strategy == before.Strategy && now.Status != before.Status {
				m.add(now.Strategy, fmt.Sprintf("claim %d: %s", now.ID, now.Text), string(before.Status), string(now.Status))
			}
		}
	}
	return m, nil
}

func (m *Moved) add(strategy, what, before, now string) {
	m.Changes = append(m.Changes, Moving{strategy, what, before, now})
}

func (m *Moved) row(before, now Strategy) {
	if before.Status != now.Status {
		m.add(now.Name, "the strategy", string(before.Status), string(now.Status))
		return
	}
	if a, b := before.Idle, now.Idle; a != nil && b != nil && *a != *b {
		m.add(now.Name, "idle servers after a scale-out", idleText(a), idleText(b))
	}
	if a, b := before.NewPods, now.NewPods; a != nil && b != nil && apart(*a, *b) {
		m.add(now.Name, "new pods called after", newPodsText(a), newPodsText(b))
	}
	if a, b := before.Jain, now.Jain; a != nil && b != nil && math.Abs(*a-*b) > noiseJain {
		m.add(now.Name, "Jain's index of the client with the least even calls", fmt.Sprintf("%.3f", *a), fmt.Sprintf("%.3f", *b))
	}
}

func apart(a, b NewPods) bool {
	if a.Called < a.Pairs || b.Called < b.Pairs {
		return a.Called*b.Pairs != b.Called*a.Pairs
	}
	low, high := min(a.SlowestSeconds, b.SlowestSeconds), max(a.SlowestSeconds, b.SlowestSeconds)
	return high > noiseFactor*low && high-low > noiseSeconds
}

func names(rows []Strategy) (all []string) {
	for _, s := range rows {
		all = append(all, s.Name)
	}
	return all
}
