package distribution

import (
	"maps"
	"slices"
	"time"
)

// FirstCall says how soon a server was called after it was ready.
type FirstCall struct {
	Server string
	// Called is false when the server never answered; After is then zero.
	Called bool
	// After is the time from ready to the first answer. A server can answer
	// before the observer learns that it is ready: it is then negative.
	After time.Duration
}

// FirstCalls matches the moment each server was ready with the moment of its
// first answer, in the order of the servers' names. Answers of servers that are
// not in ready are ignored.
func FirstCalls(ready, answered map[string]time.Time) []FirstCall {
	var calls []FirstCall
	for _, server := range slices.Sorted(maps.Keys(ready)) {
		call := FirstCall{Server: server}
		if at, ok := answered[server]; ok {
			call.Called, call.After = true, at.Sub(ready[server])
		}
		calls = append(calls, call)
	}
	return calls
}

// Slowest returns the last server to be called; one that never was is slower
// than all others. It returns false when there is none.
func Slowest(calls []FirstCall) (FirstCall, bool) {
	if len(calls) == 0 {
		return FirstCall{}, false
	}
	return slices.MaxFunc(calls, func(a, b FirstCall) int {
		switch {
		case a.Called != b.Called && b.Called:
			return 1
		case a.Called != b.Called:
			return -1
		}
		return int(a.After - b.After)
	}), true
}
