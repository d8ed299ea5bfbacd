package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
)

// inspectOptions say what is inspected.
type inspectOptions struct {
	context, namespace string
	all, printRBAC     bool
	measure, probe     bool
	image              string
	watched            time.Duration
	output             string
}

// inspected is what `lab inspect -o json` prints.
type inspected struct {
	Services []*inspect.Service `json:"services"`
	// NotSeen says what may not be read.
	NotSeen []string `json:"not_seen,omitempty"`
}

func newInspect() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect [service...]",
		Short: "Say whether the calls to the gRPC services of a cluster are balanced, and why not",
		Long: `inspect reads a cluster and changes nothing. It finds the gRPC Services by the names
and the appProtocol of their ports, by GRPCRoutes and by gRPC probes, and the clients by
targets in arguments, variables and ConfigMaps. For each Service it shows what the
endpoints say, what the name gives, and what traffic shows. Traffic is read twice, from
the first of these that is there: the Envoy between client and server, the client's
sidecar, the client's channelz, and the servers' metrics. overlays/WHY.md explains each
finding.

A policy that is compiled into a program is visible only in traffic. Without traffic
the verdict on such a client is "undecided".

With --measure, three short-lived clients in the Service's namespace call the health
service: one opens a connection for each call, one keeps one connection, and one uses
all addresses of the name. They show the path to the servers, and no verdict rests on
them. inspect deletes them.

` + exitHelp(exit{exitOK, "every service is balanced, by traffic"}, exit{exitFindings, "findings"}, exit{exitUsage, "wrong usage"},
			exit{exitNoCluster, "no cluster could be reached"}, exit{exitUndecided, "no finding, but not every service is balanced by traffic; or --measure could not measure"}),
		Example: "  go run ./apps/lab inspect --context prod -n shop\n  go run ./apps/lab inspect -A -o json",
		RunE: func(cmd *cobra.Command, services []string) error {
			return o.execute(cmd.Context(), services, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.context, "context", "", "`name` of a context in your kubeconfig (default: this checkout's cluster if it is up, else the current context)")
	f.StringVarP(&o.namespace, "namespace", "n", "", "`name` of the namespace (default: that of the context)")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "inspect all namespaces")
	f.DurationVar(&o.watched, "for", 5*time.Second, "`time` between the two readings of traffic; 0 reads none")
	f.BoolVar(&o.probe, "probe", false, "ask Services that nothing marks as gRPC for gRPC's server reflection, through a port-forward")
	f.BoolVar(&o.measure, "measure", false, "run short-lived clients in the namespace of each named service, and delete them")
	f.StringVar(&o.image, "image", "", "`image` of echo-client for --measure (default: the one of this checkout's release)")
	f.BoolVar(&o.printRBAC, "print-rbac", false, "print only the RBAC rights that inspect uses")
	f.StringVarP(&o.output, "output", "o", "table", "output `format`: table, json or yaml")
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o inspectOptions) execute(ctx context.Context, services []string, out io.Writer) error {
	if err := o.validate(services); err != nil {
		return exitError{exitUsage, err}
	}
	if o.printRBAC {
		return printInspectRBAC(out, o.measure)
	}
	image, err := o.clientImage()
	if err != nil {
		return exitError{exitUsage, err}
	}
	config, namespace, err := o.connect(ctx)
	if err != nil {
		return err
	}
	client, err := kube.New(config)
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	var namespaces []string
	if !o.all {
		namespaces = []string{namespace}
	}
	step := stepsOnTerminal(3)
	done := step("read the cluster" + in(namespaces))
	found, snapshot, err := o.read(ctx, client, services, namespaces)
	done(err)
	if err != nil {
		return err
	}
	if o.watched > 0 {
		done := step(fmt.Sprintf("read traffic twice, %s apart", o.watched))
		snapshot.Watch(ctx, client.Forward, o.watched, found.Services)
		done(nil)
	}
	var unmeasured error
	if o.measure {
		done := step("call the services")
		for _, s := range found.Services {
			unmeasured = errors.Join(unmeasured, inspect.Measure(ctx, client.Typed, s, image))
		}
		done(unmeasured)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := found.write(out, o.output); err != nil {
		return err
	}
	if unmeasured != nil {
		return exitError{exitUndecided, unmeasured}
	}
	return found.exit()
}

func (o inspectOptions) validate(services []string) error {
	switch {
	case !slices.Contains([]string{"table", "json", "yaml"}, o.output):
		return fmt.Errorf("--output %q: expected table, json or yaml", o.output)
	case o.watched < 0:
		return fmt.Errorf("--for %s: expected 0s or more", o.watched)
	case o.measure && len(services) == 0 && !o.printRBAC:
		return errors.New("--measure runs pods: name the services that it shall measure")
	case o.image != "" && !o.measure:
		return errors.New("--image is for the clients of --measure, which is not given")
	}
	return nil
}

// stepsOnTerminal shows the steps to a person who waits. A script gets the result alone.
func stepsOnTerminal(n int) func(name string) (done func(error)) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(string) func(error) { return func(error) {} }
	}
	return newPrinter(n).Step
}

// read reads the namespaces, or all of them without a name, and judges their Services.
func (o inspectOptions) read(ctx context.Context, client *kube.Client, services, namespaces []string) (inspected, *inspect.Snapshot, error) {
	snapshot, err := inspect.Read(ctx, client.Typed, client.Dynamic, namespaces...)
	if err != nil {
		return inspected{}, nil, exitError{exitNoCluster, err}
	}
	if o.probe {
		snapshot.Probe(ctx, client.Forward)
	}
	found := inspected{Services: snapshot.Judge(services...), NotSeen: snapshot.NotSeen}
	const looked = "looked for port names grpc*, appProtocol grpc, h2c or kubernetes.io/h2c, GRPCRoutes and gRPC probes; --probe also asks servers"
	if missing := missingServices(services, found.Services); len(missing) > 0 {
		return found, nil, exitError{exitUsage, fmt.Errorf("no gRPC Service %s%s: %s", strings.Join(missing, ", "), in(namespaces), looked)}
	}
	if len(found.Services) == 0 {
		return found, nil, exitError{exitUndecided, fmt.Errorf("no gRPC Service was found%s: %s%s", in(namespaces), looked, notSeen(found.NotSeen))}
	}
	return found, snapshot, nil
}

func in(namespaces []string) string {
	if len(namespaces) == 0 {
		return " in any namespace"
	}
	return " in namespace " + namespaces[0]
}

func notSeen(what []string) string {
	if len(what) == 0 {
		return ""
	}
	return "; not seen: " + strings.Join(what, "; ")
}

func missingServices(asked []string, found []*inspect.Service) []string {
	return slices.DeleteFunc(slices.Clone(asked), func(name string) bool {
		return slices.ContainsFunc(found, func(s *inspect.Service) bool { return s.Name == name })
	})
}

// connect returns how to reach the cluster, and the namespace.
func (o inspectOptions) connect(ctx context.Context) (*rest.Config, string, error) {
	if o.context == "" {
		if c, err := findCheckout(); err == nil {
			if on, err := c.running(ctx); err == nil {
				config, err := on.RESTConfig()
				if err != nil {
					return nil, "", exitError{exitNoCluster, err}
				}
				return config, orDefault(o.namespace), nil
			}
		}
	}
	config, namespace, err := external.Config(o.context)
	switch {
	case errors.Is(err, external.ErrNoContext):
		return nil, "", exitError{exitUsage, err}
	case err != nil:
		return nil, "", exitError{exitNoCluster, err}
	}
	if o.namespace != "" {
		namespace = o.namespace
	}
	return config, namespace, nil
}

func orDefault(namespace string) string {
	if namespace == "" {
		return metav1.NamespaceDefault
	}
	return namespace
}

func (i inspected) exit() error {
	faults, open := 0, 0
	for _, s := range i.Services {
		faults += len(s.Faults())
		if s.LeadsTo == "" && (s.Verdict != balance.Balanced || !s.Measured) {
			open++
		}
	}
	switch {
	case faults > 0:
		return exitError{exitFindings, fmt.Errorf("%d findings", faults)}
	case open > 0:
		return exitError{exitUndecided, fmt.Errorf("%d of %d services are not shown to be balanced: traffic of their clients would decide", open, len(i.Services))}
	}
	return nil
}

// clientImage returns the image of the clients of --measure.
func (o inspectOptions) clientImage() (string, error) {
	if !o.measure || o.image != "" {
		return o.image, nil
	}
	c, err := findCheckout()
	if err != nil {
		return "", fmt.Errorf("--measure needs --image outside a checkout: %w", err)
	}
	rendered, err := c.repository.Render("l4")
	if err != nil {
		return "", err
	}
	objects, _, err := manifest.DecodeAll(rendered)
	if err != nil {
		return "", err
	}
	deployment, ok := manifest.Component(objects, manifest.Client)
	if !ok {
		return "", errors.New("overlay l4 has no client, whose image --measure uses: give --image")
	}
	return manifest.MainContainer(deployment.Spec.Template).Image, nil
}

// printInspectRBAC prints the rights that inspect uses.
func printInspectRBAC(w io.Writer, measure bool) error {
	role := rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: "grpc-lb-inspect"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "services"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps", "namespaces"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list"}},
			{APIGroups: []string{"policy"}, Resources: []string{"poddisruptionbudgets"}, Verbs: []string{"list"}},
			{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"list"}},
			{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"gateways", "grpcroutes", "httproutes", "referencegrants"}, Verbs: []string{"list"}},
			{APIGroups: []string{"networking.istio.io"}, Resources: []string{"destinationrules"}, Verbs: []string{"list"}},
			{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: []string{"list"}},
		},
	}
	if measure {
		role.Rules = append(role.Rules,
			rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"create", "delete"}},
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}})
	}
	content, err := yaml.Marshal(role)
	if err == nil {
		_, err = fmt.Fprintf(w, "# Without pods/portforward inspect sees no traffic. For one namespace: bind it by a RoleBinding.\n%s", content)
	}
	return err
}
