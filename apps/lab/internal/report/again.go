package report

import (
	"cmp"
	"maps"
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

// And returns the result with the strategies that next measured after it, on the same
// cluster; order lists all of them.
func (r Result) And(next Result, order []string) Result {
	r.Finished = next.Finished
	r.Versions = maps.Clone(r.Versions)
	maps.Copy(r.Versions, next.Versions)
	r.Strategies = slices.Concat(r.Strategies, next.Strategies)
	r.Claims = slices.Concat(r.Claims, next.Claims)
	r.Experiments = slices.Concat(r.Experiments, next.Experiments)
	place := func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) }
	slices.SortStableFunc(r.Strategies, func(a, b Strategy) int { return place(a.Name, b.Name) })
	slices.SortStableFunc(r.Claims, func(a, b Claim) int { return place(a.Strategy, b.Strategy) })
	slices.SortStableFunc(r.Experiments, func(a, b Experiment) int { return place(a.Strategy, b.Strategy) })
	return r
}
