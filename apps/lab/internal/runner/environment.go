package runner

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Time limits of waits that take seconds; they leave room for a machine that is
// much slower.
const (
	SteadyTimeout    = 60 * time.Second
	ProbeTimeout     = 30 * time.Second
	ShutdownTimeout  = 60 * time.Second
	undoTimeout      = 60 * time.Second
	cleanupTimeout   = 90 * time.Second
	deployTimeout    = 3 * time.Minute
	preflightTimeout = time.Minute
)

// Environment is one strategy in its own namespace.
type Environment struct {
	Strategy Strategy
	Cluster  cluster.Cluster
	Kube     *kube.Client
	observe.Subject
	facts  *observe.Facts // guarded by record
	Record *observe.Record
	// Servers and Clients are the overlay's Deployments as rendered.
	Servers, Clients *appsv1.Deployment
	Proxies          *appsv1.Deployment // nil without any
	// Certificates are those of the pods, nil without any. An experiment may replace them.
	Certificates *Certificates
	// Policies are the NetworkPolicies of the overlay's folder network-policy.
	Policies []*unstructured.Unstructured
	// Settling is for how long clients that were restarted are left alone.
	Settling time.Duration

	experiments []*report.Experiment
	journal     *[]report.Entry // where note writes: the strategy's or the running experiment's
	journalMu   sync.Mutex      // a probe notes beside the experiment
	own         []report.Entry
	say         func(string)
	shared      *shared    // with the other strategies
	barriers    membership // of experiments that are not over yet
}

// NewEnvironment returns one in which nothing has been seen but the facts.
func NewEnvironment(s Strategy, on cluster.Cluster, k *kube.Client, facts *observe.Facts) *Environment {
	a := &Environment{
		Strategy: s, Cluster: on, Kube: k, Subject: facts.Subject, facts: facts, Record: observe.NewRecord(facts),
		say: func(string) {}, shared: newShared(nil, nil, nil, nil),
	}
	a.journal = &a.own
	return a
}

// Note writes into the journal what is done next.
func (env *Environment) Note(format string, args ...any) {
	entry := report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)}
	env.journalMu.Lock()
	*env.journal = append(*env.journal, entry)
	env.journalMu.Unlock()
	env.say(entry.Text)
}

// journalTo lets note write elsewhere until the returned function is called.
func (env *Environment) journalTo(journal *[]report.Entry) (back func()) {
	env.journalMu.Lock()
	defer env.journalMu.Unlock()
	before := env.journal
	env.journal = journal
	return func() {
		env.journalMu.Lock()
		defer env.journalMu.Unlock()
		env.journal = before
	}
}

// Await waits for a condition. When its time is over the error says what was
// missing, what the pods wait for and what the cluster's last events are.
func (env *Environment) Await(ctx context.Context, limit time.Duration, what string, missing func(*observe.Facts) string) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not in %s", Seconds(limit)))
	defer cancel()
	err := env.Record.Await(limited, missing)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("waiting for %s: %w%s", what, err, env.diagnosis(context.WithoutCancel(ctx)))
}

// shutdown stops the clients, then the servers and the namespace, and waits until every log was
// read to its end: only then do both sides have counted the same calls.
func (env *Environment) shutdown(ctx context.Context) error {
	env.Note("stop the clients, then the servers")
	if err := env.StopClients(ctx); err != nil {
		return err
	}
	if err := env.Scale(ctx, env.Server, 0); err != nil {
		return err
	}
	// Kubernetes waits for 5 s before it begins to delete a namespace: the
	// servers drain meanwhile.
	env.Note("delete namespace %s", env.Namespace)
	if err := env.Kube.Typed.CoreV1().Namespaces().Delete(ctx, env.Namespace, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting namespace %s: %w", env.Namespace, err)
	}
	return env.Await(ctx, ShutdownTimeout, "the servers' last lines", func(f *observe.Facts) string {
		return pending(f.Servers, func(s *observe.Server) bool { return s.Ended })
	})
}

// StopClients scales the clients to 0 and waits until their logs were read to
// their ends.
func (env *Environment) StopClients(ctx context.Context) error {
	if err := env.Scale(ctx, env.Client, 0); err != nil {
		return err
	}
	return env.Await(ctx, ShutdownTimeout, "the clients' last lines", func(f *observe.Facts) string {
		return pending(f.Clients, func(c *observe.Client) bool { return c.Ended })
	})
}

func pending[T any](logs map[string]T, ended func(T) bool) string {
	open := 0
	for _, l := range logs {
		if !ended(l) {
			open++
		}
	}
	if open == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d logs go on", open, len(logs))
}

// Without returns those of all that are not among some.
func Without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}
