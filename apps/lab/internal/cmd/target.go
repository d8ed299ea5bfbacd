package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// roleName is that of the ClusterRole which --print-rbac prints.
const roleName = "grpc-lb-lab"

// contextOptions say how a run measures on a cluster that is there already.
type contextOptions struct {
	name      string // of the context
	registry  string
	push, yes bool
	printRBAC bool
	at        *image.Registry // parsed registry
}

func (o *contextOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.name, "context", "", "`name` of a context in your kubeconfig: measure on that cluster, and install only the overlays")
	f.StringVar(&o.registry, "registry", "", "with --context: `HOST/PATH` of the registry from which the nodes pull the lab's images")
	f.BoolVar(&o.push, "push", false, "with --registry: first push the lab's images to it")
	f.BoolVar(&o.yes, "yes", false, "with --context: create namespaces without asking")
	f.BoolVar(&o.printRBAC, "print-rbac", false, "print only the RBAC rights that a run with --context needs")
}

// check looks for contradictions in the flags.
func (o *contextOptions) check(up upOptions, deploy string) (err error) {
	switch {
	case o.name == "" && (o.registry != "" || o.push || o.yes):
		return errors.New("--registry, --push and --yes are about the cluster of --context: name one")
	case o.name == "":
		return nil
	case up.cluster != "" || up.nodeImage != "":
		return fmt.Errorf("--cluster and --node-image boot a cluster and --context %s names one: give one of the two", o.name)
	case deploy == argocd.Name:
		return errors.New("--deploy argocd installs Argo CD, and the lab installs nothing on the cluster of --context: apply argocd/root.yaml there yourself")
	case o.registry == "" && !o.printRBAC:
		return fmt.Errorf("--context %s: its nodes pull the lab's images from a registry: give --registry HOST/PATH, and --push to put them there", o.name)
	case o.registry == "":
		return nil
	}
	registry, err := image.ParseRegistry(o.registry)
	if err != nil {
		return fmt.Errorf("--registry: %w", err)
	}
	o.at = &registry
	return nil
}

// target is the cluster that a run measures.
type target struct {
	*provider.Target
	// admit asks those who must agree, before anything is built; it may be nil.
	admit func(context.Context) error
}

func (t target) nodes() plan.Nodes {
	return plan.Nodes{Architectures: t.Architectures, Assumed: t.Assumed}
}

// target chooses the cluster and finds what its nodes are.
func (c checkout) target(ctx context.Context, o runOptions) (target, error) {
	if o.context.name != "" {
		return c.externalTarget(ctx, o)
	}
	return c.ownTarget(ctx, o.up, o.keep)
}

// ownTarget is the checkout's cluster that is up, or one that is booted.
func (c checkout) ownTarget(ctx context.Context, o upOptions, keep bool) (target, error) {
	builder, err := c.builder(o.components)
	if err != nil {
		return target{}, exitError{exitUsage, err}
	}
	options := provider.Options{Builder: builder, Nodes: o.nodes, APIPort: o.apiPort, NodeImage: o.nodeImage, Patience: o.patience, Detached: keep}
	on, err := c.clusters.Target(ctx, o.cluster, options, func(why error, next string) {
		fmt.Fprintf(os.Stderr, "lab: %v\nlab: the lab takes --cluster %s instead\n", why, next)
	})
	if err != nil {
		return target{}, exitError{exitNoCluster, err}
	}
	return target{Target: on}, nil
}

// externalTarget connects. Before anything is built admit makes sure that the run can
// do what it must and may do it.
func (c checkout) externalTarget(ctx context.Context, o runOptions) (target, error) {
	on, err := external.Connect(ctx, external.Options{Context: o.context.name, Registry: o.context.at, Push: o.context.push})
	if errors.Is(err, external.ErrNoContext) {
		return target{}, exitError{exitUsage, err}
	}
	if err != nil {
		return target{}, exitError{exitNoCluster, err}
	}
	return target{provider.Running(ctx, on), func(ctx context.Context) error { return c.admit(ctx, o, on) }}, nil
}

// admit asks the API server for rights and the user for permission.
func (c checkout) admit(ctx context.Context, o runOptions, on *external.Cluster) error {
	rights, err := c.rights(o.only, o.experiments)
	if err != nil {
		return exitError{exitUsage, err}
	}
	var namespaces []string
	for _, name := range o.only {
		namespaces = append(namespaces, manifest.Namespace(name))
	}
	left, err := on.Preflight(ctx, namespaces, rights)
	if o.context.push {
		err = errors.Join(err, o.context.at.CheckPush(ctx))
	}
	if err != nil {
		return exitError{exitNoCluster, errors.New(strings.ReplaceAll(err.Error(), "\n", "\nlab: "))}
	}
	if o.context.yes {
		return nil
	}
	plans := fmt.Sprintf("context %s is %s, Kubernetes %s. This run", o.context.name, on.Host(), on.Versions()["kubernetes"])
	return confirm(os.Stdin, os.Stderr, term.IsTerminal(int(os.Stdin.Fd())), plans+o.announced(namespaces, left))
}

// announced says what a run does to somebody else's cluster.
func (o runOptions) announced(namespaces, left []string) string {
	var b strings.Builder
	if len(left) > 0 {
		fmt.Fprintf(&b, " deletes what an earlier run left, %s,", strings.Join(left, ", "))
	}
	if o.context.push {
		fmt.Fprintf(&b, " pushes images to %s,", o.context.at)
	}
	end := "deletes them at its end"
	if o.keep {
		end = "leaves them"
	}
	fmt.Fprintf(&b, " creates the namespaces %s and %s", strings.Join(namespaces, ", "), end)
	return b.String()
}

// confirm asks on a terminal; without one it says how to go on.
func confirm(in io.Reader, out io.Writer, terminal bool, what string) error {
	if !terminal {
		return exitError{exitUsage, fmt.Errorf("%s: without a terminal nobody can be asked: give --yes", what)}
	}
	if _, err := fmt.Fprintf(out, "lab: %s.\nGo on? [y/N] ", what); err != nil {
		return exitError{exitNoCluster, err}
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return exitError{exitNoCluster, err}
	}
	if !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return exitError{exitNoCluster, fmt.Errorf("nothing was done: the answer was %q", cmp.Or(strings.TrimSpace(answer), "no"))}
	}
	return nil
}

// rights returns what running the overlays takes on a cluster of others, with the experiments
// that are asked for in place of the usual ones.
func (c checkout) rights(overlays, experiments []string) ([]kube.Right, error) {
	strategies, err := strategy.Named(c.repository, overlays)
	if err == nil && len(experiments) > 0 {
		strategies, _, err = strategy.Asking(strategies, experiments)
	}
	if err != nil {
		return nil, err
	}
	var all []kube.Right
	for _, s := range strategies {
		rendered, err := c.repository.Render(s.Name)
		if err != nil {
			return nil, err
		}
		objects, err := manifest.Unstructured(rendered)
		if err != nil {
			return nil, err
		}
		some, err := runner.Rights(s, objects)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// printRBAC prints the least role of a run. What it may do beside is access in the
// overlays' namespaces.
func (c checkout) printRBAC(w io.Writer, command string, overlays, experiments []string, beside ...runner.Access) error {
	rights, err := c.rights(overlays, experiments)
	if err != nil {
		return exitError{exitUsage, err}
	}
	for _, name := range overlays {
		for _, a := range beside {
			rights = append(rights, a.In(manifest.Namespace(name))...)
		}
	}
	role, err := yaml.Marshal(kube.ClusterRole(roleName, rights...))
	if err != nil {
		return exitError{exitFindings, err}
	}
	if len(experiments) > 0 {
		command += " --experiment " + strings.Join(experiments, ",")
	}
	_, err = fmt.Fprintf(w, `# The least rights of lab %s --context NAME --only %s.
# It is a ClusterRole because its namespaces are not there before the run. Bind it:
#   kubectl create clusterrolebinding %s --clusterrole=%[3]s --user=USER
%s`, command, strings.Join(overlays, ","), roleName, role)
	return err
}
