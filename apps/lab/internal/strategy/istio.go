package strategy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/envoyadmin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	ThroughSidecar   = "through-sidecar"
	ControlPlaneAway = "control-plane-away"
)

// LacksIstio is why a strategy that needs Istio does not run on a cluster without it.
const LacksIstio = "Istio is not installed"

var _ = add(runner.Strategy{
	Name: "istio", Order: 80,
	Recognises:  func(v balance.View) bool { return v.Meshed() },
	Balancer:    "Envoy, a sidecar of each client",
	EveryServer: true,
	Sidecar:     runner.Sidecar{Container: sidecarName, Lacks: LacksIstio},
	Claims: []runner.Claim{
		{
			ID:        13,
			Text:      "the files are those of l4",
			Static:    true,
			Own:       true,
			Criterion: by(exactly("only the namespace and the Namespace's labels differ"), asL4),
		},
		{
			ID:        14,
			Text:      "the sidecar balances the calls of a client that knows of no balancing",
			Criterion: of(ThroughSidecar, bySidecar{Calls: sidecarCalls, fair: evenEnough}, balancedBySidecar),
		},
		{
			ID:        16,
			Text:      "balancing goes on while istiod is away",
			Criterion: of(ControlPlaneAway, fairAndLossless{evenEnough, mostInTime}, balancedWithoutControlPlane),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name: ThroughSidecar, Purpose: runner.Prove,
			Rights:  always(executing),
			Steady:  everyServerCalled,
			Change:  fmt.Sprintf("Jobs make %d calls each: one for each client with a sidecar, and one without", sidecarCalls),
			Observe: callThroughSidecars,
			Assert:  func(f *observe.Facts, _ *observe.Phase) []report.Finding { return []report.Finding{encrypted(f)} },
		},
		{
			Name: ControlPlaneAway, Order: 40, Purpose: runner.Prove, Alone: true,
			Steady:  everyServerCalled,
			Change:  "scale istiod to 0 and kill it",
			Act:     killControlPlane,
			Observe: watchControlPlaneAway,
			Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
			Undo:    restoreControlPlane,
		},
	},
})

const (
	sidecarName    = "istio-proxy"
	sidecarCalls   = 1000
	sidecarRate    = 100 // calls a second and client
	sidecarTimeout = 90 * time.Second
	awayTime       = 10 * time.Second
	// handshakes is the counter of an Istio proxy's listener for what others send.
	handshakes = "listener.0.0.0.0_15006.ssl.handshake"
)

// Proxied is what was seen of clients with sidecars.
type Proxied struct {
	// Clients are those whose calls were counted by their sidecars too, and Bare is
	// the one that was given none, nil without it.
	Clients    []Sidecar
	Bare       *calllog.Summary
	Handshakes Handshakes
}

// Sidecar is a client and what its sidecar counted meanwhile.
type Sidecar struct {
	Client  string
	Summary calllog.Summary
	// Sent holds the calls that the proxy sent, by server pod, or by address
	// where no server has that.
	Sent map[string]int64
}

// Handshakes holds, by server, the TLS handshakes that its sidecar counted.
type Handshakes map[string]int64

// all tells whether every server's proxy counted some.
func (h Handshakes) all() bool {
	return len(h) > 0 && !slices.Contains(slices.Collect(maps.Values(h)), 0)
}

// Summaries counts the Jobs' calls.
func (p *Proxied) Summaries() []calllog.Summary {
	var all []calllog.Summary
	if p.Bare != nil {
		all = append(all, *p.Bare)
	}
	for _, s := range p.Clients {
		all = append(all, s.Summary)
	}
	return all
}

// callThroughSidecars runs as many clients as the overlay has, each with a
// sidecar that outlives it so that its counters can be read afterwards, and one
// without.
func callThroughSidecars(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	to, err := runner.Target(env.Clients.Spec.Template)
	if err != nil {
		return err
	}
	seen := &Proxied{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	// A call that is late is not lost: what is counted is who answers.
	args := []string{to, fmt.Sprintf("--count=%d", sidecarCalls), fmt.Sprintf("--rate=%d", sidecarRate), "--timeout=10s"}
	job := func(name string) runner.ClientJob {
		return runner.ClientJob{Name: name, Args: args, Limit: sidecarTimeout}
	}
	all := []func(context.Context) error{func(ctx context.Context) error {
		bare := job("without-sidecar")
		bare.Labels = map[string]string{"sidecar.istio.io/inject": "false"}
		ran, err := env.RunClient(ctx, bare)
		if err != nil {
			return err
		}
		env.Record.Update(func(*observe.Facts) { seen.Bare = &ran.Summary })
		return nil
	}}
	for n := range *env.Clients.Spec.Replicas {
		proxied := job(fmt.Sprintf("with-sidecar-%d", n+1))
		proxied.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "false"}
		all = append(all, func(ctx context.Context) error { return callProxied(ctx, env, proxied, seen) })
	}
	if err := alongside(ctx, all...); err != nil {
		return err
	}
	counted, err := countHandshakes(ctx, env)
	env.Record.Update(func(*observe.Facts) { seen.Handshakes = counted })
	return err
}

// callProxied runs a client whose sidecar outlives it, and reads its counters.
func callProxied(ctx context.Context, env *runner.Environment, j runner.ClientJob, seen *Proxied) error {
	var sent map[string]int64
	j.Ended = func(ctx context.Context, pod string) error {
		raw, err := askProxy(ctx, env, pod, "clusters?format=json")
		if err != nil {
			return err
		}
		if sent, err = envoyadmin.Count(raw, envoyadmin.Requests, func(cluster string) bool { return envoyadmin.Outbound(cluster, env.Server+"."+env.Namespace+".") }); err != nil {
			return fmt.Errorf("the proxy of %s: %w", pod, err)
		}
		return nil
	}
	ran, err := env.RunClient(ctx, j)
	if err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) {
		seen.Clients = append(seen.Clients, Sidecar{Client: ran.Pod, Summary: ran.Summary, Sent: f.Named(sent)})
	})
	return nil
}

// askProxy asks the admin interface of a pod's sidecar, which answers only
// inside of the pod.
func askProxy(ctx context.Context, env *runner.Environment, pod, path string) ([]byte, error) {
	return env.Kube.Exec(ctx, env.Namespace, pod, sidecarName, "pilot-agent", "request", "GET", path)
}

func countHandshakes(ctx context.Context, env *runner.Environment) (Handshakes, error) {
	var servers []string
	env.Record.Look(func(f *observe.Facts) { servers = f.ReadyNow() })
	counted := Handshakes{}
	for _, server := range servers {
		raw, err := askProxy(ctx, env, server, "stats?filter="+handshakes)
		if err != nil {
			return nil, err
		}
		if counted[server], err = counter(raw, handshakes); err != nil {
			return nil, fmt.Errorf("the proxy of %s: %w", server, err)
		}
	}
	return counted, nil
}

// counter reads one line "name: 3" of Envoy's /stats.
func counter(raw []byte, name string) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+": "); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("it has no counter %s", name)
}

// asL4 wants that nothing but what may differ does.
func asL4(f *observe.Facts, _ exactly) runner.Verdict {
	if f.Differs == nil {
		return runner.NotRun("the renderings were not compared")
	}
	if len(*f.Differs) > 0 {
		return runner.Decided(false, "%s", strings.Join(*f.Differs, ", "))
	}
	return runner.Decided(true, "all other objects are equal").With("0 differences")
}

// bySidecar is how many calls each client makes through its sidecar, and how fair
// that must be.
type bySidecar struct {
	Calls int64
	fair
}

func (l bySidecar) Sentence(observe.DNS) string {
	return fmt.Sprintf("%d calls a client to every server, Jain >= %.2f, the proxy counts the same; without it 1 server", l.Calls, l.Together)
}

// balancedBySidecar wants every proxied client to call every server about
// evenly, its proxy to have counted the same, and the client without a proxy to
// stay on one server: then it is the proxy that balances.
func balancedBySidecar(f *observe.Facts, p *observe.Phase, limit bySidecar) runner.Verdict {
	seen := observe.EvidenceOf[*Proxied](f, ThroughSidecar)
	if seen == nil {
		seen = &Proxied{}
	}
	switch {
	case len(p.Servers) < 2:
		return runner.NotRun("only %d server was ready: nothing to spread over", len(p.Servers))
	case len(seen.Clients) == 0 || seen.Bare == nil:
		return runner.NotRun("%d clients with and no client without a sidecar were measured", len(seen.Clients))
	}
	even := newFairness()
	for _, s := range seen.Clients {
		counts := distribution.Counts(s.Summary.Servers).With(p.Servers...)
		even.add(counts)
		switch {
		case counts.Total() != limit.Calls:
			return runner.Decided(false, "%d of %d calls of %s were answered, failures %v", counts.Total(), limit.Calls, s.Client, s.Summary.Failures)
		case len(counts.Idle()) > 0:
			return runner.Decided(false, "%s did not call %s", s.Client, strings.Join(counts.Idle(), ", "))
		case !maps.Equal(counts, distribution.Counts(s.Sent).With(p.Servers...)):
			return runner.Decided(false, "%s was answered by %v, its proxy sent to %v", s.Client, counts, s.Sent)
		}
	}
	bare := distribution.Counts(seen.Bare.Servers)
	if len(bare.Servers()) != 1 {
		return runner.Decided(false, "a client without a sidecar was answered by %d servers: it is not the sidecar that balances", len(bare.Servers()))
	}
	return runner.Decided(even.keeps(limit.fair), "%d clients to %d servers: %s, their proxies counted the same %d calls each; without a sidecar %d calls to 1 server",
		len(seen.Clients), len(p.Servers), even, limit.Calls, bare.Total()).With("Jain %.3f", even.together.Jain())
}

// encrypted looks at the servers' proxies: a connection with TLS began with a
// handshake that they counted.
func encrypted(f *observe.Facts) report.Finding {
	var handshakes Handshakes
	if seen := observe.EvidenceOf[*Proxied](f, ThroughSidecar); seen != nil {
		handshakes = seen.Handshakes
	}
	var all int64
	plain := []string{}
	for _, server := range observe.Keys(handshakes) {
		all += handshakes[server]
		if handshakes[server] == 0 {
			plain = append(plain, server)
		}
	}
	measured := fmt.Sprintf("the proxies of %d servers counted %d TLS handshakes", len(handshakes), all)
	if len(plain) > 0 {
		measured += ", none at " + strings.Join(plain, ", ")
	}
	return report.Finding{Text: "the calls reach the servers' proxies encrypted", Holds: len(handshakes) > 0 && len(plain) == 0, Measured: measured}
}

// killControlPlane ends istiod at once, and keeps it from coming back.
func killControlPlane(ctx context.Context, env *runner.Environment, _ *observe.Phase) error {
	if err := env.ScaleIn(ctx, istio.Namespace, istio.Deployment, 0); err != nil {
		return err
	}
	env.Note("kill istiod")
	now := int64(0)
	return env.Kube.Typed.CoreV1().Pods(istio.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "app=istiod"})
}

func watchControlPlaneAway(ctx context.Context, env *runner.Environment, _ *observe.Phase) error {
	if err := poll.Sleep(ctx, awayTime); err != nil {
		return err
	}
	pods, err := env.Kube.Typed.CoreV1().Pods(istio.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(pods.Items) > 0 {
		err = fmt.Errorf("%d pods of istiod were there meanwhile", len(pods.Items))
	}
	return err
}

func restoreControlPlane(ctx context.Context, env *runner.Environment) error {
	if err := env.ScaleIn(ctx, istio.Namespace, istio.Deployment, 1); err != nil {
		return err
	}
	return env.Kube.Available(ctx, istio.Namespace, istio.Deployment)
}

// fairAndLossless is both.
type fairAndLossless struct {
	fair
	lossless
}

func (l fairAndLossless) Sentence(dns observe.DNS) string {
	return l.fair.Sentence(dns) + ", " + l.lossless.Sentence(dns)
}

// balancedWithoutControlPlane wants the calls to go on as before.
func balancedWithoutControlPlane(f *observe.Facts, p *observe.Phase, limit fairAndLossless) runner.Verdict {
	if len(p.Servers) < 2 || len(p.Clients) == 0 {
		return runner.NotRun("%d clients called %d servers", len(p.Clients), len(p.Servers))
	}
	even, answered, late := newFairness(), int64(0), int64(0)
	for _, name := range p.Clients {
		windows := f.Clients[name].Between(p.Change, p.End)
		counts := observe.Calls(windows).With(p.Servers...)
		if len(counts.Idle()) > 0 {
			return runner.Decided(false, "%s did not call %s", name, strings.Join(counts.Idle(), ", "))
		}
		own := lateness(windows)
		if lost := observe.Failures(windows) - own; lost > 0 {
			return runner.Decided(false, "%d calls of %s were lost", lost, name)
		}
		even.add(counts)
		answered, late = answered+counts.Total(), late+own
	}
	return runner.Decided(even.keeps(limit.fair) && limit.keptBy(answered, answered+late), "%d calls of %d clients to %d servers in %s: %s, none lost, %d late",
		answered, len(p.Clients), len(p.Servers), runner.Seconds(p.End.Sub(p.Change).Round(100*time.Millisecond)), even, late).With("0 lost, %d late", late)
}
