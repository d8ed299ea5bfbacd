package strategy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// TLS is the name of the experiment. The others are made inside of it.
const (
	TLS         = "tls"
	TLSRotation = "tls-rotation"
	TLSFaults   = "tls-faults"
)

const (
	// clientSecret has the files of a client alone.
	clientSecret = "echo-tls-client"
	refusedRate  = 5 // calls a second
	refusedTime  = 2 * time.Second
	// refusedTimeout of a call is longer than the claim's limit: it is not what ends a call.
	refusedTimeout = 10 * time.Second
)

// refused is how soon a client without trust must know.
var refused = within{What: "a call fails with Unavailable and the reason", Delay: Delay{Fixed: time.Second}, Of: "of the client's start"}

var overTLS = []string{"l4", "dns", "k8s-api", "envoy"}

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name: TLS, Order: 100,
		Steady:  noFailure,
		Change:  "connect to every server and proxy with, and without, TLS and a certificate; a Job calls that trusts another authority",
		Observe: lookAtTLS,
		Edits:   true,
		Inner:   []runner.Experiment{tlsRotation, tlsFaults},
		Rights: always(
			forwarding,
			runner.Access{Resources: []string{"secrets"}, Verbs: []string{"create", "patch", "delete"}},
			runner.Access{Resources: []string{"pods"}, Verbs: []string{"patch"}},
			runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"patch"}},
		),
	},
	TLS:   true,
	Usual: true,
	Without: map[string]string{
		"linkerd": "Linkerd 1 routes calls by their headers: it would have to end TLS itself",
		"istio":   "its sidecars make mTLS by themselves: the experiment mesh-tls is about that",
		"xds":     "its servers have no sidecar and get nothing by xDS: nobody would end the mesh's mTLS",
	},
	Question: "Does everything that is claimed of a strategy hold with mTLS, and do certificates rotate without a lost call?",
	Claims: []About{
		{
			Strategies: overTLS,
			Claim: runner.Claim{
				ID:        62,
				Text:      "every call is verified by mTLS, and the servers accept nothing else",
				Criterion: of(TLS, exactly("TLS 1.3 and h2, a certificate of the run's authority for the dialed name; no connection without TLS, none without a certificate"), verified),
			},
		},
		{
			Strategies: overTLS,
			Claim: runner.Claim{
				ID:        63,
				Text:      "certificates, and then their authority, are replaced during calls without a lost call",
				Criterion: of(TLSRotation, rotates{mostInTime, 150 * time.Second}, rotated),
			},
		},
		{
			Strategies: overTLS,
			Claim: runner.Claim{
				ID:        64,
				Text:      "a client that trusts another authority fails at once and says why",
				Criterion: of(TLS, refused, strangerRefused),
			},
		},
		{
			Strategies: []string{"l4", "dns", "k8s-api"},
			Claim: runner.Claim{
				ID:        65,
				Text:      "a broken Secret ends no call, and what is wrong with it is said",
				Criterion: of(TLSFaults, faultsTold{mostInTime}, toldFaults),
			},
		},
	},
})

// Secured is evidence of what servers and proxies accept, and of a client that is refused.
type Secured struct {
	Peers    []Peer
	Stranger *runner.ClientResult
}

// Summaries counts the Job's calls.
func (s *Secured) Summaries() []calllog.Summary {
	if s.Stranger == nil {
		return nil
	}
	return []calllog.Summary{s.Stranger.Summary}
}

// lookAtTLS connects to all servers and proxies, and lets a client call that does not trust
// them.
func lookAtTLS(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if env.Certificates == nil {
		return errForeign
	}
	seen := &Secured{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	own, err := env.Certificates.Authority.Issue(pki.Valid(), env.Certificates.Names...)
	if err != nil {
		return err
	}
	all, err := peersOf(ctx, env)
	if err != nil {
		return err
	}
	env.Note("connect to %d pods with TLS, without a certificate, and without TLS", len(all))
	how := dialing{own: own, trusted: []*pki.Authority{env.Certificates.Authority}}
	for _, peer := range all {
		if err := peer.forward(ctx, env, func(dial dialer) error {
			looked, err := peer.look(ctx, dial, how)
			env.Record.Update(func(*observe.Facts) { seen.Peers = append(seen.Peers, looked) })
			return err
		}); err != nil {
			return err
		}
	}
	ran, err := callAsStranger(ctx, env)
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.Stranger = &ran })
	return nil
}

// callAsStranger runs a client that trusts another authority than the servers'.
func callAsStranger(ctx context.Context, env *runner.Environment) (ran runner.ClientResult, err error) {
	stranger, err := pki.NewAuthority("grpc-lb lab stranger")
	if err != nil {
		return ran, err
	}
	return callRefused(ctx, env, "tls-stranger", stranger)
}

// callRefused runs a client that gets no answer. It shows a certificate that servers accept,
// and trusts the authority.
func callRefused(ctx context.Context, env *runner.Environment, name string, trusted *pki.Authority) (ran runner.ClientResult, err error) {
	own, err := env.Certificates.Authority.Issue(pki.Valid(), env.Certificates.Names...)
	if err != nil {
		return ran, err
	}
	files, err := own.Files(trusted)
	if err != nil {
		return ran, err
	}
	if err := env.PutSecret(ctx, clientSecret, files); err != nil {
		return ran, err
	}
	if ran, err = env.RunClient(ctx, refusedJob(env, name, clientSecret)); err != nil {
		return ran, err
	}
	return ran, env.Kube.Typed.CoreV1().Secrets(env.Namespace).Delete(ctx, clientSecret, metav1.DeleteOptions{})
}

// refusedJob is a client that gets no answer.
func refusedJob(env *runner.Environment, name, secret string) runner.ClientJob {
	return runner.ClientJob{
		Name: name, Secret: secret, Limit: refusedTime + refusedTimeout + runner.ProbeTimeout, MayFail: true,
		Args: slices.Concat(env.Clients.Spec.Template.Spec.Containers[0].Args, []string{
			"--duration=" + refusedTime.String(), fmt.Sprintf("--rate=%d", refusedRate), "--timeout=" + refusedTimeout.String(),
		}),
	}
}

// verified wants TLS with certificates of all peers and in all clients' logs.
func verified(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*Secured](f, TLS)
	if seen == nil || len(seen.Peers) == 0 || len(p.Clients) == 0 || len(p.Servers) == 0 {
		return runner.NotRun("%d clients called %d servers, none of them was looked at", len(p.Clients), len(p.Servers))
	}
	looked := map[string]bool{}
	for _, peer := range seen.Peers {
		looked[peer.Pod] = true
		if wrong := peer.wrong(); wrong != "" {
			return runner.Decided(false, "%s: %s", peer.Pod, wrong)
		}
	}
	for _, server := range p.Servers {
		if !looked[server] {
			return runner.NotRun("nobody looked at %s", server)
		}
	}
	for _, s := range f.Probes() {
		if s.Verified < s.Opened {
			return runner.Decided(false, "a Job's client verified the server of %d of %d connections", s.Verified, s.Opened)
		}
	}
	calls := int64(0)
	for _, name := range observe.Keys(f.Clients) {
		c := f.Clients[name]
		if wrong := unverified(c); wrong != "" {
			return runner.Decided(false, "%s: %s", name, wrong)
		}
		calls += observe.Calls(c.Windows).Total()
	}
	return runner.Decided(calls > 0, "%d calls of %d clients over TLS; %d servers and proxies accept %s with %s, nothing without", calls, len(f.Clients), len(seen.Peers), seen.Peers[0].Version, seen.Peers[0].Protocol).
		With("%d calls", calls)
}

// unverified says why a client's calls may be without TLS.
func unverified(c *observe.Client) string {
	var opened, verifiedAll int64
	for _, w := range c.Windows {
		opened, verifiedAll = opened+w.Opened, verifiedAll+w.Verified
	}
	if opened == 0 || verifiedAll < opened {
		return fmt.Sprintf("it verified the server of %d of %d connections", verifiedAll, opened)
	}
	return ""
}

// strangerRefused wants the reason in the first failure, soon.
func strangerRefused(f *observe.Facts, _ *observe.Phase, in within) runner.Verdict {
	seen := observe.EvidenceOf[*Secured](f, TLS)
	if seen == nil || seen.Stranger == nil {
		return runner.NotRun("no client called that trusts another authority")
	}
	return toldIn(*seen.Stranger, in.In(f.DNS), "x509: certificate signed by unknown authority")
}

// toldIn wants that no call was answered, and that the first one failed soon and with the
// reason in its error.
func toldIn(ran runner.ClientResult, limit time.Duration, reason string) runner.Verdict {
	if answered := distribution.Counts(ran.Summary.Servers).Total(); answered > 0 {
		return runner.Decided(false, "%d of %d calls were answered", answered, ran.Summary.Calls)
	}
	var started time.Time
	for _, line := range ran.Log {
		switch l := line.(type) {
		case *calllog.Start:
			started = l.Time
		case *calllog.Failure:
			after := l.Time.Sub(started)
			if started.IsZero() {
				return runner.NotRun("the client did not log its start")
			}
			return runner.Decided(after <= limit && strings.Contains(l.Error, reason), "%s: %.300s, %s after the client's start",
				l.Code, strings.Join(strings.Fields(l.Error), " "), runner.Seconds(after.Round(10*time.Millisecond))).With("%s", runner.Seconds(after.Round(10*time.Millisecond)))
		}
	}
	return runner.NotRun("the client logged no failed call")
}
