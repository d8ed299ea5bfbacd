package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const systemNamespace = "kube-system"

// waitReady waits until all nodes and what kube-system runs on them are ready.
// Its error says what is not.
func (e engine) waitReady(ctx context.Context, o Options, detail func(string)) error {
	on, err := e.connect(ctx, o, o.unfinished())
	if err != nil {
		return err
	}
	client, err := on.Client()
	if err != nil {
		return err
	}
	var failing *crashed
	err = poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		why, crashing, err := look(ctx, client, o.Nodes)
		if err != nil {
			why = err.Error() // an API server under load may fail once
		} else {
			failing = crashing
		}
		detail(why)
		return why, nil
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w%s", err, lastWords(client, failing))
	}
	return err
}

// look returns the first thing that is not ready, and a container that crashes.
func look(ctx context.Context, client *kube.Client, want int) (string, *crashed, error) {
	nodes, err := client.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, err
	}
	sets, err := client.Typed.AppsV1().DaemonSets(systemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, err
	}
	deployments, err := client.Typed.AppsV1().Deployments(systemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, err
	}
	pods, err := client.Typed.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, err
	}
	why, failing := unready(want, nodes.Items, sets.Items, deployments.Items, pods.Items)
	return why, failing, nil
}

// crashed is a container that ended more than once.
type crashed struct{ pod, container string }

// unready returns what is not ready yet, and why as far as the objects tell, or
// "". A container that crashes is returned too: its log says more.
func unready(want int, nodes []corev1.Node, sets []appsv1.DaemonSet, deployments []appsv1.Deployment, pods []corev1.Pod) (string, *crashed) {
	if len(nodes) < want {
		return fmt.Sprintf("%d of %d nodes are there", len(nodes), want), nil
	}
	// A pod that fails may be why its node is not ready.
	for _, p := range pods {
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				why := fmt.Sprintf("pod %s on %s: container %s: %s", p.Name, p.Spec.NodeName, s.Name, w.Reason)
				if w.Message != "" {
					why += ": " + oneLine(w.Message)
				}
				if s.RestartCount > 0 {
					return why, &crashed{p.Name, s.Name}
				}
				return why, nil
			}
		}
	}
	for _, n := range nodes {
		if why := notReady(n); why != "" {
			return fmt.Sprintf("node %s is not ready: %s", n.Name, why), nil
		}
	}
	for _, s := range sets {
		if all := s.Status.DesiredNumberScheduled; s.Status.ObservedGeneration != s.Generation || int(all) < want || s.Status.NumberReady < all {
			return fmt.Sprintf("%d of %d pods of %s are ready", s.Status.NumberReady, max(int(all), want), s.Name), nil
		}
	}
	for _, d := range deployments {
		if all := *d.Spec.Replicas; d.Status.ObservedGeneration != d.Generation || d.Status.AvailableReplicas < all {
			return fmt.Sprintf("%d of %d pods of %s are available", d.Status.AvailableReplicas, all, d.Name), nil
		}
	}
	if len(sets) == 0 || len(deployments) == 0 {
		return "kube-system has no pods yet", nil
	}
	return "", nil
}

func notReady(n corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if c.Status == corev1.ConditionTrue {
			return ""
		}
		return oneLine(c.Message)
	}
	return "its kubelet has not said so yet"
}

// lastWords returns why a container ended the last time, as far as it said, or
// else the last warning about a pod.
func lastWords(client *kube.Client, c *crashed) string {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if c == nil {
		events, err := client.Typed.CoreV1().Events(systemNamespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
		if err != nil || len(events.Items) == 0 {
			return ""
		}
		last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
		return fmt.Sprintf("; the last warning is about %s: %s", last.InvolvedObject.Name, oneLine(last.Message))
	}
	lines := int64(20)
	log, err := client.Typed.CoreV1().Pods(systemNamespace).GetLogs(c.pod, &corev1.PodLogOptions{Container: c.container, Previous: true, TailLines: &lines}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	var text []string
	for line := range strings.Lines(string(log)) {
		text = append(text, klogPrefix.ReplaceAllString(strings.TrimSpace(line), ""))
	}
	if why := reason(strings.Join(text, "\n")); why != "" {
		return "; it said: " + why
	}
	return ""
}
