package strategy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Asked is an experiment that a run makes only if somebody asks for it by name. Such a
// run makes no other experiment, and judges no other claim, unless it says so.
type Asked struct {
	runner.Experiment
	// Question is what it answers, in a sentence.
	Question string
	// TLS says that it is made with overlays whose servers have certificates: variants with
	// the component tls, with which no other experiment is made, and others that have it.
	TLS bool
	// Usual says that the strategies' other experiments are made too, and their claims judged:
	// before it, or after one that puts policies in force.
	Usual bool
	// Without says why it is not made with strategies with which somebody may expect it.
	Without map[string]string
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
	if a.TLS && !s.TLS || !a.TLS && manifest.IsAsked(s.Name) {
		return nil
	}
	for _, c := range a.Claims {
		if slices.Contains(c.Strategies, cmp.Or(s.Follows, s.Name)) {
			claims = append(claims, c.Claim)
		}
	}
	return claims
}

// Concerned returns the names of the overlays and variants of this repository that it is
// made with, in the order of the table.
func (a Asked) Concerned() (names []string) {
	for _, s := range All() {
		for _, c := range a.Claims {
			names = append(names, a.overlays(c, s.Name)...)
		}
	}
	return distinct(names)
}

// Overlays returns those of them that one of its claims is about.
func (a Asked) Overlays(c About) (names []string) {
	for _, s := range All() {
		names = append(names, a.overlays(c, s.Name)...)
	}
	return names
}

// overlays returns the strategy if the claim is about it, or its variants with certificates.
func (a Asked) overlays(c About, strategy string) (names []string) {
	switch {
	case !slices.Contains(c.Strategies, strategy):
	case !a.TLS:
		names = append(names, strategy)
	default:
		for _, v := range manifest.Variants {
			if v.Overlay == strategy && v.Asked {
				names = append(names, v.Name)
			}
		}
	}
	return names
}

func distinct(names []string) (each []string) {
	for _, name := range names {
		if !slices.Contains(each, name) {
			each = append(each, name)
		}
	}
	return each
}

// Candidates returns the overlays and variants among which a run of the named experiments
// looks for those that they concern, if it is not told which: the usual ones, and with an
// experiment about certificates all.
func Candidates(r *manifest.Repository, experiments []string) ([]string, error) {
	if slices.ContainsFunc(OnRequest(), func(a Asked) bool { return a.TLS && slices.Contains(experiments, a.Name) }) {
		return r.All()
	}
	return r.Usual()
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
		asking := s
		asking.Experiments, asking.Claims, asking.Preflight = nil, nil, nil
		usual := false
		for _, a := range asked {
			if claims := a.about(s); len(claims) > 0 {
				asking.Experiments, asking.Claims = append(asking.Experiments, a.Experiment), append(asking.Claims, claims...)
				usual = usual || a.Usual
			}
		}
		if len(asking.Experiments) == 0 {
			continue
		}
		if usual {
			asking.Experiments, asking.Claims = withUsual(s.Experiments, asking.Experiments), slices.Concat(s.Claims, asking.Claims)
		}
		some = append(some, asking)
	}
	return some, oneByOne, nil
}

// withUsual adds the usual experiments to those that are asked for: after one that puts
// policies in force, which stay so, and before all others.
func withUsual(usual, asked []runner.Experiment) []runner.Experiment {
	i := slices.IndexFunc(asked, func(e runner.Experiment) bool { return e.Policies })
	if i < 0 {
		return slices.Concat(usual, asked)
	}
	return slices.Concat(asked[:i], asked[i+1:], asked[i:i+1], usual)
}

func requestable() (names []string) {
	for _, a := range OnRequest() {
		names = append(names, a.Name)
	}
	return names
}
