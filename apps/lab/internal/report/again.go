package report

import (
	"cmp"
	"slices"
)

// attempt is what came out of a claim.
func (c Claim) attempt() Attempt {
	if c.Status == NotRun {
		return Attempt{c.Status, c.Reason}
	}
	return Attempt{c.Status, c.Measured}
}

// Since returns the claim as it came out of another attempt than the earlier one.
func (c Claim) Since(earlier Claim) Claim {
	c.Before = append(slices.Clone(earlier.Before), earlier.attempt())
	return c
}

// Again returns the result with the strategies that next measured once more:
// their rows are next's, and their claims say what came out before. Experiments
// of both stay.
func (r Result) Again(next Result) Result {
	r.Finished = next.Finished
	r.Strategies, r.Claims = slices.Clone(r.Strategies), slices.Clone(r.Claims)
	r.Experiments = slices.Concat(r.Experiments, next.Experiments)
	for i, s := range r.Strategies {
		for _, n := range next.Strategies {
			if n.Name == s.Name {
				n.Note = cmp.Or(n.Note, s.Note)
				r.Strategies[i] = n
			}
		}
	}
	for i, c := range r.Claims {
		for _, n := range next.Claims {
			if n.ID == c.ID && n.Strategy == c.Strategy {
				r.Claims[i] = n.Since(c)
			}
		}
	}
	return r
}
