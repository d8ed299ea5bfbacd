package report

import (
	"fmt"
	"slices"
)

// ExitCode returns 0 when no claim is refuted and every claim of the required
// strategies is proven, else 1.
func ExitCode(r Result, required []string) int {
	if len(Shortcomings(r, required)) > 0 {
		return 1
	}
	return 0
}

// WithinReach returns the result without the claims that its cluster cannot
// decide.
func WithinReach(r Result) Result {
	r.Claims = slices.DeleteFunc(slices.Clone(r.Claims), func(c Claim) bool { return c.OutOfReach })
	return r
}

// Shortcomings says, a line each, why ExitCode is not 0.
func Shortcomings(r Result, required []string) []string {
	var lines []string
	for _, c := range r.Claims {
		switch {
		case c.Status == Refuted:
			lines = append(lines, fmt.Sprintf("claim %d is refuted for %s: %s: measured %s, limit %s", c.ID, c.Strategy, c.Text, c.Measured, c.Limit))
		case c.Status != Proven && slices.Contains(required, c.Strategy):
			lines = append(lines, fmt.Sprintf("claim %d is required for %s but was not run: %s", c.ID, c.Strategy, c.Reason))
		}
	}
	for _, name := range required {
		i := slices.IndexFunc(r.Strategies, func(s Strategy) bool { return s.Name == name })
		proven := slices.ContainsFunc(r.Claims, func(c Claim) bool { return c.Strategy == name && c.Status == Proven })
		switch {
		case i < 0 && proven: // claims that are about no strategy
		case i < 0:
			lines = append(lines, fmt.Sprintf("strategy %s is required but was not part of the run", name))
		case r.Strategies[i].Status != Ran:
			lines = append(lines, fmt.Sprintf("strategy %s is required but was not run: %s", name, r.Strategies[i].Reason))
		case !proven:
			lines = append(lines, fmt.Sprintf("strategy %s is required but no claim about it is proven", name))
		}
	}
	return lines
}
