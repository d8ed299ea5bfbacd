package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// Set is the checkout's providers, those first that are preferred.
type Set []Provider

// Names lists the values of --cluster.
func (s Set) Names() []string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.Kind().Name
	}
	return names
}

// Help lists the values of --cluster, and which is the default.
func (s Set) Help() string {
	defaults := []string{"this checkout's cluster if it is up"}
	for _, p := range s {
		choice := p.Kind().Name
		if needs := p.Kind().Needs; needs != "" {
			choice += " if " + needs
		}
		defaults = append(defaults, choice)
	}
	return fmt.Sprintf("%s (default: %s)", strings.Join(s.Names(), " or "), strings.Join(defaults, "; else "))
}

// Named returns a provider.
func (s Set) Named(name string) (Provider, error) {
	for _, p := range s {
		if p.Kind().Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%q: expected %s", name, strings.Join(s.Names(), " or "))
}

// With returns the name that is asked for if its kind can do something, or without one
// the first that can.
func (s Set) With(asked string, can func(Kind) bool) (string, error) {
	var able []string
	for _, p := range s {
		if k := p.Kind(); can(k) {
			able = append(able, k.Name)
		}
	}
	switch {
	case asked == "" && len(able) > 0:
		return able[0], nil
	case slices.Contains(able, asked):
		return asked, nil
	}
	return "", fmt.Errorf("--cluster %s: expected --cluster %s", asked, strings.Join(able, " or "))
}

// without names the kinds but that of p.
func (s Set) without(p Provider) []string {
	return slices.DeleteFunc(s.Names(), func(name string) bool { return name == p.Kind().Name })
}

// Find returns the checkout's cluster that is up and its provider, or nil.
func (s Set) Find(ctx context.Context) (Provider, cluster.Cluster, error) {
	for _, p := range s {
		if on, err := p.Find(ctx); on != nil || err != nil {
			return p, on, err
		}
	}
	return nil, nil, nil
}

// Choose returns the provider that was asked for, or without a name the first that
// this machine can have.
func (s Set) Choose(ctx context.Context, name string) (Provider, error) {
	if name != "" {
		p, err := s.Named(name)
		if err != nil {
			return nil, err
		}
		if err := p.Check(ctx); err != nil {
			return nil, fmt.Errorf("--cluster %s: not run: %w", name, err)
		}
		return p, nil
	}
	var why []string
	for _, p := range s {
		err := p.Check(ctx)
		if err == nil {
			return p, nil
		}
		why = append(why, fmt.Sprintf("%s: %v", p.Kind().Name, err))
	}
	return nil, fmt.Errorf("this machine can have no cluster: %s", strings.Join(why, "; "))
}

// After returns the first provider after p that this machine can have, or nil.
func (s Set) After(ctx context.Context, p Provider) Provider {
	for _, next := range s[slices.Index(s, p)+1:] {
		if next.Check(ctx) == nil {
			return next
		}
	}
	return nil
}

// Down removes the checkout's clusters of all kinds.
func (s Set) Down(ctx context.Context) error {
	var errs []error
	for _, p := range s {
		errs = append(errs, p.Down(ctx))
	}
	return errors.Join(errs...)
}

// Elsewhere says how to reach a cluster of this checkout that is another user's.
func (s Set) Elsewhere() string {
	for _, p := range s {
		if where := p.Elsewhere(); where != "" {
			return where
		}
	}
	return ""
}

// Left names what is left of clusters that are not up.
func (s Set) Left(ctx context.Context) (all []string, err error) {
	var errs []error
	for _, p := range s {
		left, err := p.Left(ctx)
		all, errs = append(all, left...), append(errs, err)
	}
	return all, errors.Join(errs...)
}
