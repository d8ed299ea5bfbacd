package runner

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
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// probeName labels probes; it must match no selector of an overlay.
const probeName = "echo-client-probe"

// Probe runs the client once, as a Job in the cluster because the host can dial
// no ClusterIP, and returns what it logged.
func (a *Environment) Probe(ctx context.Context, name string, args []string) ([]calllog.Line, error) {
	ended, err := a.RunJob(ctx, ProbeTimeout, Job(name, a.Clients.Spec.Template, args))
	if err != nil {
		return nil, err
	}
	lines, err := a.JobLog(ctx, name, ended)
	return lines, errors.Join(err, a.DeleteJob(ctx, name))
}

// RunJob creates the Job and returns its pod once the client in it has ended.
func (a *Environment) RunJob(ctx context.Context, limit time.Duration, j *batchv1.Job) (ended *corev1.Pod, err error) {
	pod := j.Spec.Template.Spec
	a.Note("run Job %s: %s %s", j.Name, a.Client, strings.Join(pod.Containers[0].Args, " "))
	if _, err := a.Kube.Typed.BatchV1().Jobs(a.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return nil, fmt.Errorf("creating Job %s: %w", j.Name, err)
	}
	return ended, a.Await(ctx, limit, "Job "+j.Name, func(f *observe.Facts) string {
		for _, p := range f.Pods {
			if p.Labels[batchv1.JobNameLabel] == j.Name && Exit(p, a.Client) != nil {
				ended = p
				return ""
			}
		}
		return "its client has not ended"
	})
}

// JobLog reads what the client of an ended Job logged.
func (a *Environment) JobLog(ctx context.Context, name string, ended *corev1.Pod) ([]calllog.Line, error) {
	raw, err := a.Kube.Typed.CoreV1().Pods(a.Namespace).GetLogs(ended.Name, &corev1.PodLogOptions{Container: a.Client}).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of Job %s: %w", name, err)
	}
	if Exit(ended, a.Client).ExitCode != 0 {
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

func (a *Environment) DeleteJob(ctx context.Context, name string) error {
	background := metav1.DeletePropagationBackground
	if err := a.Kube.Typed.BatchV1().Jobs(a.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		return fmt.Errorf("deleting Job %s: %w", name, err)
	}
	return nil
}

// Exit returns how the container ended, nil while it has not.
func Exit(p *corev1.Pod, container string) *corev1.ContainerStateTerminated {
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

// Job is the client's pod with other arguments and labels of its own.
func Job(name string, template corev1.PodTemplateSpec, args []string) *batchv1.Job {
	pod := *template.DeepCopy()
	pod.Labels = map[string]string{observe.NameLabel: probeName}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TopologySpreadConstraints = nil // they count the Deployment's pods
	pod.Spec.Containers[0].Args = args
	never := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pod.Labels},
		Spec:       batchv1.JobSpec{BackoffLimit: &never, Template: pod},
	}
}

// Target returns the client's argument that says whom it calls.
func Target(template corev1.PodTemplateSpec) (string, error) {
	client := template.Spec.Containers[0]
	if i := slices.IndexFunc(client.Args, func(a string) bool { return strings.HasPrefix(a, "--target=") }); i >= 0 {
		return client.Args[i], nil
	}
	return "", fmt.Errorf("container %s has no argument --target=…", client.Name)
}
