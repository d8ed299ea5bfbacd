package experiment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// probeName labels probes; it must match no selector of an overlay.
const probeName = "echo-client-probe"

// probe runs the client once, as a Job in the cluster because the host can dial
// no ClusterIP, and returns what it logged.
func (a *arena) probe(ctx context.Context, name string, args []string) ([]calllog.Line, error) {
	ended, err := a.runJob(ctx, probeTimeout, job(name, a.clients.Spec.Template, args))
	if err != nil {
		return nil, err
	}
	lines, err := a.jobLog(ctx, name, ended)
	return lines, errors.Join(err, a.deleteJob(ctx, name))
}

// runJob creates the Job and returns its pod once the client in it has ended.
func (a *arena) runJob(ctx context.Context, limit time.Duration, j *batchv1.Job) (ended *corev1.Pod, err error) {
	pod := j.Spec.Template.Spec
	a.note("run Job %s: %s %s", j.Name, a.facts.Client, strings.Join(pod.Containers[0].Args, " "))
	if _, err := a.client.BatchV1().Jobs(a.facts.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return nil, fmt.Errorf("creating Job %s: %w", j.Name, err)
	}
	return ended, a.await(ctx, limit, "Job "+j.Name, func(*Facts) string {
		for _, p := range a.pods {
			if p.Labels[batchv1.JobNameLabel] == j.Name && exit(p, a.facts.Client) != nil {
				ended = p
				return ""
			}
		}
		return "its client has not ended"
	})
}

// jobLog reads what the client of an ended Job logged.
func (a *arena) jobLog(ctx context.Context, name string, ended *corev1.Pod) ([]calllog.Line, error) {
	raw, err := a.client.CoreV1().Pods(a.facts.Namespace).GetLogs(ended.Name, &corev1.PodLogOptions{Container: a.facts.Client}).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of Job %s: %w", name, err)
	}
	if exit(ended, a.facts.Client).ExitCode != 0 {
		return nil, fmt.Errorf("job %s failed: %s", name, strings.TrimSpace(string(raw)))
	}
	var lines []calllog.Line
	for line, err := range calllog.Read(bytes.NewReader(raw)) {
		if err != nil {
			return nil, fmt.Errorf("reading the log of Job %s: %w", name, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func (a *arena) deleteJob(ctx context.Context, name string) error {
	background := metav1.DeletePropagationBackground
	if err := a.client.BatchV1().Jobs(a.facts.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		return fmt.Errorf("deleting Job %s: %w", name, err)
	}
	return nil
}

// exit returns how the container ended, nil while it has not.
func exit(p *corev1.Pod, container string) *corev1.ContainerStateTerminated {
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}

func containerOf(pod corev1.PodSpec, name string) int {
	return slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == name })
}

// job is the client's pod with other arguments and labels of its own.
func job(name string, template corev1.PodTemplateSpec, args []string) *batchv1.Job {
	pod := *template.DeepCopy()
	pod.Labels = map[string]string{nameLabel: probeName}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TopologySpreadConstraints = nil // they count the Deployment's pods
	pod.Spec.Containers[0].Args = args
	never := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pod.Labels},
		Spec:       batchv1.JobSpec{BackoffLimit: &never, Template: pod},
	}
}

// target returns the client's argument that says whom it calls.
func target(template corev1.PodTemplateSpec) (string, error) {
	client := template.Spec.Containers[0]
	if i := slices.IndexFunc(client.Args, func(a string) bool { return strings.HasPrefix(a, "--target=") }); i >= 0 {
		return client.Args[i], nil
	}
	return "", fmt.Errorf("container %s has no argument --target=…", client.Name)
}
