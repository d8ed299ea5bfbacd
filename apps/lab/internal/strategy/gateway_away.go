package strategy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// GatewayAway is the name of the experiment.
const GatewayAway = "gateway"

const (
	// gatewayLabel is on all that an implementation makes of a Gateway (GEP-1762).
	gatewayLabel = "gateway.networking.k8s.io/gateway-name"

	killedTime = 30 * time.Second // of the stream whose proxy is killed
	killedLead = 5 * time.Second  // before that
	// reopened is how soon the next stream must be open: a pod of the proxy starts in some
	// seconds, and the client tries again after up to as many.
	reopened = 20 * time.Second

	contested = 8081 // the port that two listeners want
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:   GatewayAway,
		Steady: everyServerCalled,
		Change: "restart the Deployment of the Gateway's proxy; kill its pod while a Job sends messages on a stream; add a Gateway with two listeners at one port",
		Rights: always(
			runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"list", "get", "patch"}},
			runner.Access{Group: "gateway.networking.k8s.io", Resources: []string{"gateways"}, Verbs: []string{"create", "patch", "get", "list", "delete"}},
		),
		Observe:    takeGateway,
		Undo:       undoTakenPort,
		Edits:      true,
		GatewayAPI: true,
	},
	Question: "What do clients see of a Gateway's proxy that is restarted or killed, and who gets a port that two listeners want?",
	Claims: []About{
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        76,
				Text:      "a rolling restart of the Gateway's proxy loses no call",
				Criterion: of(GatewayAway, mostInTime, restartLosesNothing),
			},
		},
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        77,
				Text:      "a stream through a pod of the proxy that is killed ends with Unavailable, and the client opens the next",
				Criterion: of(GatewayAway, within{What: "the stream ends with Unavailable and the next is open", Delay: Delay{Fixed: reopened}}, streamReopens),
			},
		},
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        79,
				Text:      "of two listeners that want one port the first gets it, and the other says so",
				Criterion: of(GatewayAway, exactly("the first is Programmed and not Conflicted, the second Conflicted (ProtocolConflict) and not Programmed"), firstListenerWins),
			},
		},
	},
})

// Taken is what was seen of a Gateway's proxy that was taken away.
type Taken struct {
	// Restart is the rolling restart, New are the pods after it.
	Restart    observe.Phase
	Old, New   []string
	Killed     time.Time
	Stream     *runner.ClientResult
	Conditions map[string]map[string]string // of the listeners, such as Conflicted: "True (ProtocolConflict)"
}

// Summaries counts the Job's calls.
func (t *Taken) Summaries() []calllog.Summary {
	if t.Stream == nil {
		return nil
	}
	return []calllog.Summary{t.Stream.Summary}
}

func takeGateway(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	seen := &Taken{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	for _, take := range []func(context.Context, *runner.Environment, *observe.Phase, *Taken) error{restartGateway, killGateway, takePort} {
		if err := take(ctx, env, p, seen); err != nil {
			return err
		}
	}
	return nil
}

// proxyPods returns the pods of the Gateway's proxy that are ready and do not end.
func proxyPods(f *observe.Facts) (ready []*corev1.Pod) {
	for _, name := range observe.Keys(f.Pods) {
		if p := f.Pods[name]; p.Labels[gatewayLabel] != "" && p.DeletionTimestamp == nil && podReady(p) {
			ready = append(ready, p)
		}
	}
	return ready
}

// restartGateway replaces the proxy's pods as `kubectl rollout restart` does, and returns
// when the old ones are gone.
func restartGateway(ctx context.Context, env *runner.Environment, p *observe.Phase, seen *Taken) error {
	d, err := proxyDeployment(ctx, env)
	if err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) {
		seen.Old = names(proxyPods(f))
		seen.Restart = observe.Phase{Begin: time.Now(), Change: time.Now(), Clients: p.Clients, Servers: p.Servers}
	})
	if err := restartDeployment(ctx, env, d.Name); err != nil {
		return err
	}
	if err := env.Await(ctx, rolloutTimeout, "the proxy's rollout", func(f *observe.Facts) string {
		for _, name := range seen.Old {
			if f.Pods[name] != nil {
				return name + " is still there"
			}
		}
		if len(proxyPods(f)) < int(*d.Spec.Replicas) {
			return "no new pod is ready"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, afterwards); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) { seen.New, seen.Restart.End = names(proxyPods(f)), time.Now() })
	return nil
}

// proxyDeployment returns the Deployment that the implementation made of the Gateway.
func proxyDeployment(ctx context.Context, env *runner.Environment) (*appsv1.Deployment, error) {
	list, err := env.Kube.Typed.AppsV1().Deployments(env.Namespace).List(ctx, metav1.ListOptions{LabelSelector: gatewayLabel})
	if err != nil {
		return nil, fmt.Errorf("looking for the proxy of the Gateway: %w", err)
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("%d Deployments have the label %s, expected 1: this implementation makes no Deployment of a Gateway", len(list.Items), gatewayLabel)
	}
	return &list.Items[0], nil
}

// killGateway kills the proxy's pod while a client sends messages on a stream: nobody
// drains, and the Deployment makes another pod.
func killGateway(ctx context.Context, env *runner.Environment, _ *observe.Phase, seen *Taken) error {
	args := slices.Concat(env.Clients.Spec.Template.Spec.Containers[0].Args, []string{
		"--method=stream", "--duration=" + killedTime.String(), fmt.Sprintf("--rate=%d", streamRate), "--timeout=" + streamTimeout.String(),
	})
	return alongside(ctx,
		func(ctx context.Context) error {
			ran, err := env.RunClient(ctx, runner.ClientJob{Name: GatewayAway + "-" + Stream, Limit: killedTime + runner.SteadyTimeout, Args: args})
			env.Record.Update(func(*observe.Facts) { seen.Stream = &ran })
			return err
		},
		func(ctx context.Context) error {
			if err := env.Await(ctx, runner.SteadyTimeout, "the Job's client", func(f *observe.Facts) string {
				for _, pod := range f.Pods {
					if strings.HasPrefix(pod.Labels[batchv1.JobNameLabel], GatewayAway) && pod.Status.Phase == corev1.PodRunning {
						return ""
					}
				}
				return "it does not run"
			}); err != nil {
				return err
			}
			if err := poll.Sleep(ctx, killedLead); err != nil {
				return err
			}
			var pods []*corev1.Pod
			env.Record.Update(func(f *observe.Facts) { pods, seen.Killed = proxyPods(f), time.Now() })
			for _, pod := range pods {
				env.Note("kill pod %s", pod.Name)
				atOnce := int64(0)
				if err := env.Kube.Typed.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &atOnce}); err != nil {
					return fmt.Errorf("killing pod %s: %w", pod.Name, err)
				}
			}
			return nil
		})
}

// takenPort is a Gateway with two listeners of different protocols at one port, which the
// API server takes: only an implementation can judge it.
func takenPort(namespace string) (*unstructured.Unstructured, error) {
	o, err := unstructuredOf(&gatewayv1.Gateway{
		TypeMeta: metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "Gateway"},
		ObjectMeta: metav1.ObjectMeta{Name: gatewayName + "-taken", Namespace: namespace, Annotations: map[string]string{
			"networking.istio.io/service-type": string(corev1.ServiceTypeClusterIP),
		}},
		Spec: gatewayv1.GatewaySpec{Listeners: []gatewayv1.Listener{
			{Name: "first", Port: contested, Protocol: gatewayv1.HTTPProtocolType},
			{Name: "second", Port: contested, Protocol: gatewayv1.TCPProtocolType},
		}},
	})
	return o, err
}

// takePort adds that Gateway and reads what its listeners say.
func takePort(ctx context.Context, env *runner.Environment, _ *observe.Phase, seen *Taken) error {
	o, err := takenPort(env.Namespace)
	if err != nil {
		return err
	}
	resource, err := env.Kube.Resource(o)
	if err != nil {
		return err
	}
	its, err := resource.Get(ctx, gatewayName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Gateway/%s: %w", gatewayName, err)
	}
	class, _, _ := unstructured.NestedString(its.Object, "spec", "gatewayClassName")
	if err := unstructured.SetNestedField(o.Object, class, "spec", "gatewayClassName"); err != nil {
		return err
	}
	env.Note("apply Gateway %s with two listeners at port %d", o.GetName(), contested)
	if err := env.Kube.Apply(ctx, o); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, runner.SteadyTimeout, fmt.Errorf("not in %s", runner.SteadyTimeout))
	defer cancel()
	return poll.Until(limited, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		now, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		g, ok := manifest.Typed(now).(*gatewayv1.Gateway)
		if !ok || len(g.Status.Listeners) < len(g.Spec.Listeners) {
			return "its listeners are not judged", nil
		}
		said := map[string]map[string]string{}
		for _, l := range g.Status.Listeners {
			said[string(l.Name)] = map[string]string{}
			for _, c := range l.Conditions {
				said[string(l.Name)][c.Type] = fmt.Sprintf("%s (%s)", c.Status, c.Reason)
			}
		}
		env.Record.Update(func(*observe.Facts) { seen.Conditions = said })
		if !strings.HasPrefix(said["first"][string(gatewayv1.ListenerConditionProgrammed)], "True") {
			return "its first listener is not programmed", nil
		}
		return "", nil
	})
}

func undoTakenPort(ctx context.Context, env *runner.Environment) error {
	o, err := takenPort(env.Namespace)
	if err != nil {
		return err
	}
	return env.Kube.Delete(ctx, o)
}

// restartLosesNothing wants every pod of the proxy to be another one, and no call lost.
func restartLosesNothing(f *observe.Facts, _ *observe.Phase, limit lossless) runner.Verdict {
	seen := observe.EvidenceOf[*Taken](f, GatewayAway)
	if seen == nil || seen.Restart.End.IsZero() || len(seen.Old) == 0 {
		return runner.NotRun("the proxy was not restarted")
	}
	if stayed := len(seen.Old) - len(runner.Without(seen.Old, seen.New)); stayed > 0 || len(seen.New) < len(seen.Old) {
		return runner.Decided(false, "of the pods %v %d are still there, now there are %v", seen.Old, stayed, seen.New)
	}
	v := undisturbed(f, &seen.Restart, limit)
	v.Measured = fmt.Sprintf("%d of %d pods replaced; %s", len(seen.New), len(seen.Old), v.Measured)
	return v
}

// streamReopens wants the stream to end with the proxy, and the next one to be open and
// answered soon.
func streamReopens(f *observe.Facts, _ *observe.Phase, limit within) runner.Verdict {
	seen := observe.EvidenceOf[*Taken](f, GatewayAway)
	if seen == nil || seen.Stream == nil || seen.Killed.IsZero() {
		return runner.NotRun("no proxy was killed while a stream was open")
	}
	var ends []*calllog.StreamEnd
	for _, line := range seen.Stream.Log {
		if end, ok := line.(*calllog.StreamEnd); ok && end.Calls > 0 {
			ends = append(ends, end)
		}
	}
	failed := seen.Stream.Summary.Failures
	switch {
	case len(ends) == 0 || ends[0].Time.Before(seen.Killed) || ends[0].Opened.After(seen.Killed):
		return runner.NotRun("no stream was open when the proxy was killed: %d carried messages", len(ends))
	case len(ends) < 2:
		return runner.Decided(false, "the stream ended with %s, and no other carried a message; failed: %v", ends[0].Code, failed)
	}
	ended, next := ends[0].Time.Sub(seen.Killed).Round(10*time.Millisecond), ends[1].Opened.Sub(seen.Killed).Round(10*time.Millisecond)
	return runner.Decided(ends[0].Code == "Unavailable" && next <= limit.In(f.DNS), "the stream ended with %s after %s (%.100s), the next was open after %s; of %d messages failed: %v",
		ends[0].Code, runner.Seconds(ended), ends[0].Error, runner.Seconds(next), seen.Stream.Summary.Calls, failed).With("%s", runner.Seconds(next))
}

// firstListenerWins wants the conditions that the Gateway API gives to listeners that cannot
// share a port.
func firstListenerWins(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*Taken](f, GatewayAway)
	if seen == nil || len(seen.Conditions) < 2 {
		return runner.NotRun("no Gateway with two listeners was judged")
	}
	says := func(listener string, condition gatewayv1.ListenerConditionType) string {
		return seen.Conditions[listener][string(condition)]
	}
	const conflicted, programmed = gatewayv1.ListenerConditionConflicted, gatewayv1.ListenerConditionProgrammed
	proven := strings.HasPrefix(says("first", programmed), "True") && !strings.HasPrefix(says("first", conflicted), "True") &&
		says("second", conflicted) == "True (ProtocolConflict)" && !strings.HasPrefix(says("second", programmed), "True")
	return runner.Decided(proven, "first: Conflicted %s, Programmed %s; second: Conflicted %s, Programmed %s",
		says("first", conflicted), says("first", programmed), says("second", conflicted), says("second", programmed))
}
