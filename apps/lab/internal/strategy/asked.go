package strategy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Asked is an experiment that a run makes only if somebody asks for it by name. Such a
// run makes no other experiment, and judges no other claim.
type Asked struct {
	runner.Experiment
	// Question is what it answers, in a sentence.
	Question string
	// OneByOne says that the strategies are measured one after the other, because the
	// experiment takes what all of them use.
	OneByOne bool
	// Claims are judged about the strategies that they are about. The experiment is made
	// with these strategies alone.
	Claims []About
}

// About is a claim about several strategies.
type About struct {
	Strategies []string
	runner.Claim
}

// makeOnRequest declares an experiment that is made only if somebody asks for it.
func makeOnRequest(a Asked) struct{} { //nolint:unparam // see add
	registry.asked = append(registry.asked, a)
	return struct{}{}
}

// OnRequest returns the experiments that somebody can ask for, by name.
func OnRequest() []Asked {
	return slices.SortedFunc(slices.Values(registry.asked), func(a, b Asked) int { return cmp.Compare(a.Name, b.Name) })
}

// about returns the claims about a strategy, or about the one that it follows.
func (a Asked) about(s runner.Strategy) (claims []runner.Claim) {
	for _, c := range a.Claims {
		if slices.Contains(c.Strategies, cmp.Or(s.Follows, s.Name)) {
			claims = append(claims, c.Claim)
		}
	}
	return claims
}

// Concerned returns the names of the strategies that it is made with, in the order of the
// table.
func (a Asked) Concerned() (names []string) {
	for _, s := range All() {
		if len(a.about(s)) > 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

// Asking returns what the strategies are in a run that makes the named experiments and no
// others, without the strategies that none of them concerns, and whether they are measured
// one after the other.
func Asking(strategies []runner.Strategy, names []string) (some []runner.Strategy, oneByOne bool, err error) {
	var asked []Asked
	for _, name := range names {
		all := OnRequest()
		i := slices.IndexFunc(all, func(a Asked) bool { return a.Name == name })
		if i < 0 {
			return nil, false, fmt.Errorf("experiment %q is not known: expected one of %s", name, strings.Join(requestable(), ", "))
		}
		asked = append(asked, all[i])
		oneByOne = oneByOne || all[i].OneByOne || all[i].Alone
	}
	for _, s := range strategies {
		s.Experiments, s.Claims, s.Preflight = nil, nil, nil
		for _, a := range asked {
			if claims := a.about(s); len(claims) > 0 {
				s.Experiments, s.Claims = append(s.Experiments, a.Experiment), append(s.Claims, claims...)
			}
		}
		if len(s.Experiments) > 0 {
			some = append(some, s)
		}
	}
	return some, oneByOne, nil
}

func requestable() (names []string) {
	for _, a := range OnRequest() {
		names = append(names, a.Name)
	}
	return names
}
