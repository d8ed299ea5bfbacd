package strategy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// registry holds what the files of this package declare.
var registry struct {
	strategies  []runner.Strategy
	experiments []runner.Experiment // that are made with every strategy
	claims      []runner.Claim      // that are made about every strategy
	asked       []Asked
}

// add declares a strategy.
func add(s runner.Strategy) struct{} { //nolint:unparam // a variable of a package needs a value
	registry.strategies = append(registry.strategies, s)
	return struct{}{}
}

// makeWithEvery declares an experiment that is made with every strategy.
func makeWithEvery(e runner.Experiment) struct{} { //nolint:unparam // see add
	registry.experiments = append(registry.experiments, e)
	return struct{}{}
}

// claimOfEvery declares a claim about every strategy.
func claimOfEvery(c runner.Claim) struct{} { //nolint:unparam // see add
	registry.claims = append(registry.claims, c)
	return struct{}{}
}

// All returns every strategy in the order of the table, with its claims by number
// and its experiments in the order in which they are made.
func All() []runner.Strategy {
	all := slices.SortedFunc(slices.Values(registry.strategies), func(a, b runner.Strategy) int { return cmp.Compare(a.Order, b.Order) })
	for i := range all {
		s := &all[i]
		s.Claims = slices.SortedFunc(slices.Values(slices.Concat(s.Claims, registry.claims)),
			func(a, b runner.Claim) int { return cmp.Compare(a.ID, b.ID) })
		s.Experiments = slices.SortedStableFunc(slices.Values(slices.Concat(s.Experiments, registry.experiments)),
			func(a, b runner.Experiment) int { return cmp.Compare(a.Order, b.Order) })
	}
	return all
}

// Of returns the strategy that an overlay of any name follows.
func Of(v balance.View) (s runner.Strategy, found bool) {
	all := All()
	i := slices.IndexFunc(all, func(s runner.Strategy) bool { return s.Recognises(v) })
	if i < 0 {
		return s, false
	}
	return all[i], true
}

// Followed returns the strategy that the named overlay or variant follows.
func Followed(repository *manifest.Repository, name string) (s runner.Strategy, err error) {
	v, err := balance.ViewOf(repository, name)
	if err != nil {
		return s, err
	}
	s, found := Of(v)
	if !found {
		return s, fmt.Errorf("%s follows no strategy: its client's target leads neither to its server nor to a proxy: `lab check %[1]s` names what is wrong", name)
	}
	return s, nil
}

// Named returns what the overlays are measured as, in the order of the table: a
// strategy, or an overlay of another name that follows one.
func Named(repository *manifest.Repository, overlays []string) ([]runner.Strategy, error) {
	all := All()
	followers := map[string][]string{}
	for _, name := range overlays {
		if slices.ContainsFunc(all, func(s runner.Strategy) bool { return s.Name == name }) {
			continue
		}
		s, err := Followed(repository, name)
		if err != nil {
			return nil, err
		}
		followers[s.Name] = append(followers[s.Name], name)
	}
	var some []runner.Strategy
	for _, s := range all {
		if slices.Contains(overlays, s.Name) {
			some = append(some, s)
		}
		for _, name := range followers[s.Name] {
			some = append(some, following(s, name))
		}
	}
	for i := range some {
		v, err := balance.ViewOf(repository, some[i].Name)
		if err != nil {
			return nil, err
		}
		some[i].TLS = v.TLS
	}
	return some, nil
}

// following returns what an overlay of that name is measured as, which follows s.
func following(s runner.Strategy, name string) runner.Strategy {
	follower := s
	follower.Name, follower.Follows = name, s.Name
	follower.Claims = slices.DeleteFunc(slices.Clone(s.Claims), func(c runner.Claim) bool { return c.Own })
	return follower
}

// FollowsDNS tells whether what is claimed about a strategy depends on how far the
// cluster's DNS trails.
func FollowsDNS(s runner.Strategy) bool {
	return slices.ContainsFunc(s.Claims, func(c runner.Claim) bool { return followsDNS(c.Limit) })
}
