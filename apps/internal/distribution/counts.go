package distribution

import (
	"maps"
	"slices"
)

// Counts holds the number of answered calls per server. A server that is known
// but was never called has an entry of zero: it counts as idle.
type Counts map[string]int64

// With returns a copy in which every one of servers has an entry. Without it a
// server that got nothing would be missing, and the spread would look even.
func (c Counts) With(servers ...string) Counts {
	all := make(Counts, len(c)+len(servers))
	maps.Copy(all, c)
	for _, server := range servers {
		all[server] += 0
	}
	return all
}

// Plus returns the sum of both.
func (c Counts) Plus(other Counts) Counts {
	sum := c.With()
	for server, n := range other {
		sum[server] += n
	}
	return sum
}

// Servers returns the servers' names in order.
func (c Counts) Servers() []string {
	return slices.Sorted(maps.Keys(c))
}

// Idle returns, in order, the servers that got no call.
func (c Counts) Idle() []string {
	var idle []string
	for _, server := range c.Servers() {
		if c[server] == 0 {
			idle = append(idle, server)
		}
	}
	return idle
}

// Total returns the number of calls.
func (c Counts) Total() int64 {
	var total int64
	for _, n := range c {
		total += n
	}
	return total
}

// Shares returns each server's part of all calls, 0 to 1. It is zero for every
// server when there was no call.
func (c Counts) Shares() map[string]float64 {
	total := float64(c.Total())
	shares := make(map[string]float64, len(c))
	for server, n := range c {
		if total > 0 {
			shares[server] = float64(n) / total
		} else {
			shares[server] = 0
		}
	}
	return shares
}

// Jain returns Jain's fairness index: 1 when all servers got the same, 1/n when
// one of n got everything, 0 when there was no call, which says nothing.
func (c Counts) Jain() float64 {
	var sum, squares float64
	for _, n := range c {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(c)) * squares)
}

// PeakToMean returns how many times the mean the busiest server got: 1 when
// even, n when one of n got everything, 0 when there was no call.
func (c Counts) PeakToMean() float64 {
	total := c.Total()
	if total == 0 {
		return 0
	}
	return float64(slices.Max(slices.Collect(maps.Values(c)))) * float64(len(c)) / float64(total)
}

// MaxMinusMin returns the difference between the busiest and the idlest server,
// 0 when there is none.
func (c Counts) MaxMinusMin() int64 {
	if len(c) == 0 {
		return 0
	}
	counts := slices.Collect(maps.Values(c))
	return slices.Max(counts) - slices.Min(counts)
}
