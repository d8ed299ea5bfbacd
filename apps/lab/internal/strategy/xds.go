package strategy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	Processes = "processes"
	LateStart = "start-without-control-plane"
)

var _ = add(runner.Strategy{
	Name: "xds", Order: 90,
	Recognises:  func(v balance.View) bool { return v.Scheme == "xds" },
	Balancer:    "client; Istio sends it the endpoints (xDS)",
	EveryServer: true,
	Sidecar:     runner.Sidecar{Container: sidecarName, ClientsOnly: true, Lacks: LacksIstio},
	Code:        "google.golang.org/grpc/xds",
	Claims: []runner.Claim{
		{
			ID:        35,
			Text:      "the client itself spreads its calls as istiod says",
			Criterion: of(Steady, evenEnough, spreadFairly),
		},
		{
			ID:        36,
			Text:      "after a scale-out every client calls every new pod",
			Goal:      newPodGoal,
			Criterion: ofAdded(newPod, called),
		},
		{
			ID:        37,
			Text:      "no proxy runs in the pods",
			Criterion: by(noProcess("envoy"), noProxyProcess),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name: Processes, Purpose: runner.Prove,
			Steady:  everyServerCalled,
			Change:  "none: the processes of the pods are listed",
			Observe: listProcesses,
		},
		{
			Name: LateStart, Order: 40, Purpose: runner.Prove, Alone: true,
			Steady:  everyServerCalled,
			Change:  fmt.Sprintf("scale istiod to 0 and kill it, delete a client, scale istiod back after %s", runner.Seconds(lateStart)),
			Act:     startWithoutControlPlane,
			Observe: watchLateStart,
			Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
				return []report.Finding{startedLate(f, p), noFailures(f, p)}
			},
			Undo: restoreLate,
		},
	},
})

// lateStart is how long a client tries to start without a control plane.
const lateStart = 8 * time.Second

// Listed is what runs in the pods.
type Listed struct {
	Processes map[string][]string // by pod name
	Unknown   observe.Reason      // why that is not known
}

// listProcesses notes what runs in the clients' and the servers' pods.
func listProcesses(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	used, err := env.Usage(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		unknown := observe.Reason{Kind: observe.OutOfReach, Text: "the processes of this cluster's pods are out of reach"}
		env.Record.Update(func(*observe.Facts) { p.Evidence = &Listed{Unknown: unknown} })
		return nil
	}
	if err != nil {
		return err
	}
	listed := &Listed{Processes: map[string][]string{}}
	for _, c := range used {
		listed.Processes[c.Pod] = append(listed.Processes[c.Pod], c.Commands...)
	}
	env.Record.Update(func(*observe.Facts) { p.Evidence = listed })
	return nil
}

// noProcess is a process that must not run.
type noProcess string

func (p noProcess) Sentence(observe.DNS) string { return "no process " + string(p) }

// noProxyProcess wants the clients' pods to run the client and the agent that
// fetches its configuration, and nothing that passes calls on.
func noProxyProcess(f *observe.Facts, proxy noProcess) runner.Verdict {
	listed := observe.EvidenceOf[*Listed](f, Processes)
	switch {
	case listed == nil || listed.Unknown == (observe.Reason{}) && len(listed.Processes) == 0:
		return runner.NotRun("the processes of the pods were not listed")
	case listed.Unknown != (observe.Reason{}):
		return runner.NotRunFor(listed.Unknown)
	}
	var seen []string
	for _, pod := range observe.Keys(listed.Processes) {
		for _, process := range listed.Processes[pod] {
			if process == string(proxy) {
				return runner.Decided(false, "%s runs %s", pod, process)
			}
			if !slices.Contains(seen, process) {
				seen = append(seen, process)
			}
		}
	}
	slices.Sort(seen)
	return runner.Decided(true, "%d pods run %s", len(listed.Processes), strings.Join(seen, ", ")).With("%d pods without it", len(listed.Processes))
}

// startWithoutControlPlane takes istiod away, replaces a client, and puts istiod
// back.
func startWithoutControlPlane(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := killControlPlane(ctx, env, p); err != nil {
		return err
	}
	if len(p.Clients) == 0 {
		return errors.New("no client runs")
	}
	if err := env.DeletePod(ctx, p.Clients[0]); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, lateStart); err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { p.Restored = time.Now() })
	return restoreControlPlane(ctx, env)
}

// watchLateStart waits for the answer of the client that replaced another.
func watchLateStart(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	err := env.Await(ctx, runner.SteadyTimeout, "an answer of the new client", func(f *observe.Facts) string {
		added := runner.Without(f.Running(), p.Clients)
		for _, name := range added {
			if len(f.Clients[name].First) > 0 {
				p.Added = []string{name}
				return ""
			}
		}
		return fmt.Sprintf("%d new clients run", len(added))
	})
	if err != nil && ctx.Err() == nil { // that it never came is a result
		env.Note("%v", err)
		return nil
	}
	return err
}

// restoreLate makes sure that istiod is there, also after an error.
func restoreLate(ctx context.Context, env *runner.Environment) error {
	list, err := env.Kube.Typed.CoreV1().Pods("istio-system").List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(list.Items) > 0 {
		return nil
	}
	return errors.Join(err, restoreControlPlane(ctx, env))
}

// startedLate says what a client does that starts without a control plane.
func startedLate(f *observe.Facts, p *observe.Phase) report.Finding {
	if len(p.Added) != 1 {
		return report.Finding{Text: "a client that starts while istiod is away gets answers once it is back", Measured: "no new client was seen"}
	}
	name := p.Added[0]
	first, answered := time.Time{}, false
	if c := f.Clients[name]; c != nil {
		for _, at := range c.First {
			if !answered || at.Before(first) {
				first, answered = at, true
			}
		}
	}
	measured := name + " got no answer"
	if answered {
		measured = fmt.Sprintf("%s got its first answer %s after istiod was there again", name, runner.Seconds(first.Sub(p.Restored).Round(10*time.Millisecond)))
	}
	return report.Finding{
		Text: "a client that starts while istiod is away gets answers once it is back", Holds: answered && first.After(p.Restored), Measured: measured,
	}
}
