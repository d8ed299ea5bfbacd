package strategy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/envoyadmin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// MeshTLS is the name of the experiment.
const MeshTLS = "mesh-tls"

const (
	bareCalls   = 20
	bareTimeout = 2 * time.Second // of a call
	// strictTime is longer than istiod takes to tell the servers' proxies.
	strictTime = time.Minute
)

// peerAuthentications say what a sidecar demands of those who connect to it.
var peerAuthentications = schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"}

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:    MeshTLS,
		Steady:  everyServerCalled,
		Change:  "let the namespace's sidecars demand mTLS by a PeerAuthentication; a Job without a sidecar calls before and after",
		Observe: demandMeshTLS,
		Undo:    demandNothing,
		Edits:   true,
		Rights:  always(executing, runner.Access{Group: peerAuthentications.Group, Resources: []string{peerAuthentications.Resource}, Verbs: []string{"create", "delete"}}),
	},
	Question: "Do a mesh's sidecars prove who they are, and can they demand it of everybody?",
	Claims: []About{
		{
			Strategies: []string{"istio"},
			Claim: runner.Claim{
				ID:        66,
				Text:      "each sidecar has the SPIFFE id of its service account, and the servers' sidecars are called by mTLS",
				Criterion: of(MeshTLS, exactly("spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT in every sidecar's certificate; every server's sidecar counts TLS handshakes"), identified),
			},
		},
		{
			Strategies: []string{"istio"},
			Claim: runner.Claim{
				ID:        67,
				Text:      "with mTLS STRICT a client without a sidecar is refused, and no call of the others is lost",
				Criterion: of(MeshTLS, onlyMeshed{mostInTime}, strict),
			},
		},
	},
})

// MeshSecured is evidence of a mesh's mTLS.
type MeshSecured struct {
	Identities map[string]Identity // by pod
	Handshakes Handshakes
	// Before and After are clients without a sidecar, each on a connection of its own; After
	// is the last one. Refused is how long after the change it began.
	Before, After *runner.ClientResult
	Refused       time.Duration
	others        []calllog.Summary // of clients between the two
}

// Identity is what a pod's sidecar proves, and the account that it should.
type Identity struct {
	Account string
	URIs    []string
}

// Summaries counts the Jobs' calls.
func (m *MeshSecured) Summaries() []calllog.Summary {
	all := slices.Clone(m.others)
	for _, ran := range []*runner.ClientResult{m.Before, m.After} {
		if ran != nil {
			all = append(all, ran.Summary)
		}
	}
	return all
}

func demandMeshTLS(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	seen := &MeshSecured{Identities: map[string]Identity{}}
	accounts := map[string]string{}
	env.Record.Update(func(f *observe.Facts) {
		p.Evidence = seen
		for _, name := range slices.Concat(p.Clients, p.Servers) {
			if pod := f.Pods[name]; pod != nil {
				accounts[name] = pod.Spec.ServiceAccountName
			}
		}
	})
	for _, name := range observe.Keys(accounts) {
		raw, err := askProxy(ctx, env, name, "certs")
		if err != nil {
			return err
		}
		uris, err := envoyadmin.Identities(raw)
		if err != nil {
			return fmt.Errorf("the proxy of %s: %w", name, err)
		}
		env.Record.Update(func(*observe.Facts) { seen.Identities[name] = Identity{accounts[name], uris} })
	}
	counted, err := countHandshakes(ctx, env)
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.Handshakes = counted })
	before, err := callBare(ctx, env, "before-strict")
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.Before = &before })
	env.Note("demand mTLS: create PeerAuthentication %s", MeshTLS)
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": peerAuthentications.GroupVersion().String(), "kind": "PeerAuthentication",
		"metadata": map[string]any{"name": MeshTLS}, "spec": map[string]any{"mtls": map[string]any{"mode": "STRICT"}},
	}}
	changed := time.Now()
	if _, err := env.Kube.Dynamic.Resource(peerAuthentications).Namespace(env.Namespace).Create(ctx, policy, metav1.CreateOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("creating PeerAuthentication %s: %w", MeshTLS, err)
	}
	for n := 1; time.Since(changed) < strictTime; n++ {
		began := time.Since(changed)
		after, err := callBare(ctx, env, fmt.Sprintf("after-strict-%d", n))
		if err != nil {
			return err
		}
		env.Record.Update(func(*observe.Facts) {
			if seen.After != nil {
				seen.others = append(seen.others, seen.After.Summary)
			}
			seen.After, seen.Refused = &after, began
		})
		if distribution.Counts(after.Summary.Servers).Total() == 0 {
			break
		}
	}
	return nil // that it is never refused is a result
}

// callBare runs a client without a sidecar.
func callBare(ctx context.Context, env *runner.Environment, name string) (runner.ClientResult, error) {
	to, err := runner.Target(env.Clients.Spec.Template)
	if err != nil {
		return runner.ClientResult{}, err
	}
	return env.RunClient(ctx, runner.ClientJob{
		Name: name, Limit: runner.ProbeTimeout, MayFail: true, Labels: map[string]string{"sidecar.istio.io/inject": "false"},
		Args: []string{to, fmt.Sprintf("--count=%d", bareCalls), fmt.Sprintf("--rate=%d", bareCalls), "--timeout=" + bareTimeout.String()},
	})
}

// demandNothing removes the PeerAuthentication.
func demandNothing(ctx context.Context, env *runner.Environment) error {
	err := env.Kube.Dynamic.Resource(peerAuthentications).Namespace(env.Namespace).Delete(ctx, MeshTLS, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting PeerAuthentication %s: %w", MeshTLS, err)
	}
	return nil
}

// identified wants the id of its account of every sidecar, and handshakes of every server's.
func identified(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*MeshSecured](f, MeshTLS)
	if seen == nil || len(p.Clients) == 0 || len(p.Servers) == 0 {
		return runner.NotRun("%d clients called %d servers, no sidecar was asked", len(p.Clients), len(p.Servers))
	}
	for _, name := range slices.Concat(p.Clients, p.Servers) {
		id, asked := seen.Identities[name]
		if !asked {
			return runner.NotRun("the sidecar of %s was not asked", name)
		}
		want := fmt.Sprintf("/ns/%s/sa/%s", f.Namespace, id.Account)
		if len(id.URIs) != 1 || !strings.HasPrefix(id.URIs[0], "spiffe://") || !strings.HasSuffix(id.URIs[0], want) {
			return runner.Decided(false, "the sidecar of %s proves %q, expected spiffe://DOMAIN%s", name, id.URIs, want)
		}
	}
	var all int64
	for _, name := range p.Servers {
		if seen.Handshakes[name] == 0 {
			return runner.Decided(false, "the sidecar of %s counted no TLS handshake", name)
		}
		all += seen.Handshakes[name]
	}
	return runner.Decided(true, "%d sidecars prove their accounts by SPIFFE ids, those of %d servers counted %d TLS handshakes", len(p.Clients)+len(p.Servers), len(p.Servers), all).
		With("%d ids", len(p.Clients)+len(p.Servers))
}

// onlyMeshed is the limit of mTLS that is demanded: lossless, and others are refused.
type onlyMeshed struct{ lossless }

func (l onlyMeshed) Sentence(dns observe.DNS) string {
	return "without a sidecar every call is answered before and fails after; with one, " + l.lossless.Sentence(dns)
}

// strict wants a client without a sidecar to be answered before and refused after, and the
// others to call on.
func strict(f *observe.Facts, p *observe.Phase, limit onlyMeshed) runner.Verdict {
	seen := observe.EvidenceOf[*MeshSecured](f, MeshTLS)
	if seen == nil || seen.Before == nil || seen.After == nil {
		return runner.NotRun("no client without a sidecar called before and after")
	}
	before, after := distribution.Counts(seen.Before.Summary.Servers).Total(), distribution.Counts(seen.After.Summary.Servers).Total()
	if before == 0 {
		return runner.NotRun("without a sidecar no call was answered before either: %s", seen.Before.Failure)
	}
	if after > 0 {
		return runner.Decided(false, "without a sidecar %d of %d calls are answered %s after mTLS is demanded", after, seen.After.Summary.Calls, runner.Seconds(seen.Refused.Round(10*time.Millisecond)))
	}
	served := undisturbed(f, p, limit.lossless)
	if served.Status == report.Proven {
		served.Measured = fmt.Sprintf("without a sidecar %d of %d calls are answered before, 0 of %d after (%s): %s", before, seen.Before.Summary.Calls, seen.After.Summary.Calls, seen.After.Failure, served.Measured)
	}
	return served
}
