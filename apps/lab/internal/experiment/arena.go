package experiment

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Time limits of waits that take seconds; they leave room for a machine that is
// much slower.
const (
	steadyTimeout   = 60 * time.Second
	probeTimeout    = 30 * time.Second
	shutdownTimeout = 60 * time.Second
	undoTimeout     = 60 * time.Second
	cleanupTimeout  = 90 * time.Second
	deployTimeout   = 3 * time.Minute
)

// arena is one strategy in its own namespace.
type arena struct {
	strategy Strategy
	cluster  cluster.Cluster
	kube     *kube.Client
	client   kubernetes.Interface // kube's
	facts    *Facts               // guarded by record
	record   *record
	// servers and clients are the overlay's Deployments as rendered.
	servers, clients *appsv1.Deployment
	proxies          *appsv1.Deployment // nil without any

	pods     map[string]*corev1.Pod // by name, guarded by record
	followed map[types.UID]bool     // owned by the pod watch
	readers  sync.WaitGroup         // logs being followed
	closers  []func()               // end the watches

	experiments []*report.Experiment
	journal     *[]report.Entry // where note writes: the strategy's or the running experiment's
	journalMu   sync.Mutex      // a probe notes beside the experiment
	own         []report.Entry
	say         func(string)
	quiet       *quiet // shared with the other strategies
	met         int    // meetings of the running experiment that were attended
}

func newArena(s Strategy, on cluster.Cluster, k *kube.Client, namespace string, dns DNS, q *quiet, say func(string)) *arena {
	facts := NewFacts(s.Name, namespace, dns)
	facts.byName = s.ByName
	a := &arena{
		strategy: s, cluster: on, kube: k, client: k.Typed, facts: facts, record: newRecord(facts),
		pods: map[string]*corev1.Pod{}, followed: map[types.UID]bool{}, say: say, quiet: q,
	}
	a.journal = &a.own
	return a
}

// read takes from a rendering what experiments need of it.
func (a *arena) read(objects []*unstructured.Unstructured) (err error) {
	if a.servers, err = component(objects, manifest.Server); err != nil {
		return err
	}
	if a.clients, err = component(objects, manifest.Client); err != nil {
		return err
	}
	a.facts.Server, a.facts.Client = a.servers.Name, a.clients.Name
	if a.facts.ConnectionAge, err = connectionAge(a.servers); err != nil {
		return err
	}
	a.proxies, _ = deployment(objects, a.strategy.Proxy) // a DaemonSet's is none
	return nil
}

// note writes into the journal what is done next.
func (a *arena) note(format string, args ...any) {
	entry := report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)}
	a.journalMu.Lock()
	*a.journal = append(*a.journal, entry)
	a.journalMu.Unlock()
	a.say(entry.Text)
}

// journalTo lets note write elsewhere until the returned function is called.
func (a *arena) journalTo(journal *[]report.Entry) (back func()) {
	a.journalMu.Lock()
	defer a.journalMu.Unlock()
	before := a.journal
	a.journal = journal
	return func() {
		a.journalMu.Lock()
		defer a.journalMu.Unlock()
		a.journal = before
	}
}

// await waits for a condition. When its time is over the error says what was
// missing, what the pods wait for and what the cluster's last events are.
func (a *arena) await(ctx context.Context, limit time.Duration, what string, missing func(*Facts) string) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not in %s", seconds(limit)))
	defer cancel()
	err := a.record.await(limited, missing)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("waiting for %s: %w%s", what, err, a.diagnosis(context.WithoutCancel(ctx)))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// shutdown stops the clients, then the servers and the namespace, and waits until every log was
// read to its end: only then do both sides have counted the same calls.
func (a *arena) shutdown(ctx context.Context) error {
	a.note("stop the clients, then the servers")
	if err := a.scale(ctx, a.facts.Client, 0); err != nil {
		return err
	}
	if err := a.await(ctx, shutdownTimeout, "the clients' last lines", func(f *Facts) string {
		return pending(f.Clients, func(c *Client) bool { return c.Ended })
	}); err != nil {
		return err
	}
	if err := a.scale(ctx, a.facts.Server, 0); err != nil {
		return err
	}
	// Kubernetes waits for 5 s before it begins to delete a namespace: the
	// servers drain meanwhile.
	a.note("delete namespace %s", a.facts.Namespace)
	if err := a.client.CoreV1().Namespaces().Delete(ctx, a.facts.Namespace, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting namespace %s: %w", a.facts.Namespace, err)
	}
	return a.await(ctx, shutdownTimeout, "the servers' last lines", func(f *Facts) string {
		return pending(f.Servers, func(s *Server) bool { return s.Ended })
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
