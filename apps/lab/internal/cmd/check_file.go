package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// judged is the outcome of check -f.
type judged struct {
	Clients    []callPath        `json:"clients"`
	Routes     []routeWay        `json:"routes,omitempty"`
	Violations []check.Violation `json:"violations"`
	// EnvoyNotRun says why Envoy did not validate its configuration.
	EnvoyNotRun string `json:"envoyNotRun,omitempty"`
}

// callPath is how the calls of one client reach their servers.
type callPath struct {
	Client    string          `json:"client"`
	Namespace string          `json:"namespace,omitempty"`
	Container string          `json:"container"`
	From      string          `json:"from"` // where the target stands
	Target    string          `json:"target"`
	Policy    string          `json:"policy"`
	Mesh      string          `json:"mesh,omitempty"`
	Service   string          `json:"service,omitempty"`
	Verdict   balance.Verdict `json:"verdict"`
	Chooser   string          `json:"chooser,omitempty"` // who chooses a server
	Per       string          `json:"per,omitempty"`     // how often
	Among     string          `json:"among,omitempty"`
	NewPods   string          `json:"newPods,omitempty"` // when a new pod gets calls
	Because   string          `json:"because,omitempty"` // why it cannot be decided
	Advice    []string        `json:"advice,omitempty"`
}

// routeWay is where a GRPCRoute leads from and to, whoever its clients are.
type routeWay struct {
	Route     string   `json:"route"`
	Namespace string   `json:"namespace,omitempty"`
	From      []string `json:"from"`
	To        []string `json:"to"`
	Unknown   []string `json:"unknown,omitempty"` // what is not among the objects
}

func pathOf(p balance.Path) callPath {
	c := callPath{
		Client: manifest.Describe(p.Client.Pods.Object), Namespace: p.Client.Pods.GetNamespace(), Container: p.Client.Container,
		From: p.Client.From, Target: p.Client.Target.Text, Policy: p.Client.Policy.String(), Mesh: string(p.Client.Mesh),
		Verdict: p.Verdict, Chooser: p.Chooser, Per: p.Per(), Among: p.Among, NewPods: p.NewPods, Because: p.Because,
	}
	if p.Service != nil {
		c.Service = p.Service.Name
	}
	if p.Elsewhere != "" {
		c.Among = p.Elsewhere
	}
	for _, f := range p.Findings {
		if f.Advice {
			c.Advice = append(c.Advice, f.Seen)
		}
	}
	return c
}

// checkFile judges manifests of any origin by the rules about balancing.
func checkFile(ctx context.Context, files []string, output string, in io.Reader, out io.Writer) error {
	var content []byte
	for _, file := range files {
		if file == "" {
			return exitError{exitUsage, errors.New("-f is empty: expected a file of manifests, a directory with a kustomization, or - for standard input")}
		}
		next, err := manifest.Load(file, in)
		if err != nil {
			return exitError{exitUsage, err}
		}
		content = append(append(content, "\n---\n"...), next...)
	}
	file := strings.Join(files, ", ")
	violations, paths, err := check.Manifests(content)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("-f %s: %w", file, err)}
	}
	c, _ := findCheckout() // where an Envoy may be
	objects, _, err := manifest.DecodeAll(content)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("-f %s: %w", file, err)}
	}
	refused, notRun := c.validateEnvoys(ctx, objects)
	violations = append(violations, refused...)
	found := judged{Clients: []callPath{}, Violations: violations, EnvoyNotRun: notRun}
	for _, p := range paths {
		found.Clients = append(found.Clients, pathOf(p))
	}
	for _, r := range balance.Foreign(objects).Routes() {
		found.Routes = append(found.Routes, routeWay{manifest.Describe(r.Object), r.Object.Namespace, r.From, r.To, r.Unknown})
	}
	if err := found.write(out, output); err != nil {
		return err
	}
	switch {
	case len(violations) > 0:
		return exitError{exitFindings, fmt.Errorf("%d violations", len(violations))}
	case len(found.Clients)+len(found.Routes) == 0:
		return exitError{exitUndecided, errors.New("no client was found whose target leads to a gRPC Service here: looked for targets in arguments, variables and mounted ConfigMaps, " +
			"and for gRPC in port names, appProtocol and probes")}
	}
	if i := slices.IndexFunc(found.Routes, func(r routeWay) bool { return len(r.Unknown) > 0 }); i >= 0 {
		return exitError{exitUndecided, fmt.Errorf("`lab check -f` cannot decide about %s: %s", found.Routes[i].Route, strings.Join(found.Routes[i].Unknown, "; "))}
	}
	if i := slices.IndexFunc(found.Clients, func(c callPath) bool { return c.Verdict == balance.Undecided }); i >= 0 {
		return exitError{exitUndecided, fmt.Errorf("`lab check -f` cannot decide about %s: %s", found.Clients[i].Client, found.Clients[i].Because)}
	}
	return nil
}

// write shows each client in two lines, then each route and each violation.
func (j judged) write(w io.Writer, output string) error {
	if output == "json" {
		if j.Violations == nil {
			j.Violations = []check.Violation{}
		}
		return writeJSON(w, j)
	}
	var b strings.Builder
	for _, c := range j.Clients {
		fmt.Fprintf(&b, "%s, container %s: %s (%s), policy %s\n", c.Client, c.Container, c.Target, c.From, c.Policy)
		fmt.Fprintf(&b, "    %s%s\n", c.Verdict, c.how())
		if c.Because != "" {
			fmt.Fprintf(&b, "    because %s\n", c.Because)
		}
		for _, a := range c.Advice {
			fmt.Fprintf(&b, "    note: %s\n", a)
		}
	}
	for _, r := range j.Routes {
		fmt.Fprintf(&b, "%s\n    from %s to %s\n", r.Route, strings.Join(r.From, " and "), cmp.Or(strings.Join(r.To, " and "), "no Service that is known"))
		for _, u := range r.Unknown {
			fmt.Fprintf(&b, "    undecided: %s\n", u)
		}
	}
	for _, v := range j.Violations {
		fmt.Fprintf(&b, "%s\n    %s\n", v, v.Remedy)
	}
	if j.EnvoyNotRun != "" {
		fmt.Fprintf(&b, "envoy-valid: not run: %s\n", j.EnvoyNotRun)
	}
	fmt.Fprintf(&b, "%d clients, %d violations\n", len(j.Clients), len(j.Violations))
	_, err := io.WriteString(w, b.String())
	return err
}

// how says who chooses a server among which, and when new pods get calls.
func (c callPath) how() string {
	var parts []string
	if c.Chooser != "" {
		parts = append(parts, c.Chooser+" chooses")
	}
	if c.Per != "" {
		parts = append(parts, c.Per)
	}
	if c.Among != "" {
		parts = append(parts, "among "+c.Among)
	}
	text := strings.Join(parts, " ")
	if c.NewPods != "" {
		text += "; a new pod gets calls " + c.NewPods
	}
	if text == "" {
		return ""
	}
	return ": " + text
}
