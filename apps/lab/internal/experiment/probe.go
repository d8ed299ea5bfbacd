package experiment

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/caller/callerlog"
)

// probeName labels probes; it must match no selector of an overlay.
const probeName = "echo-client-probe"

// probe runs the client once, as a Job in the cluster because the host can dial
// no ClusterIP, and returns what it logged.
func (a *arena) probe(ctx context.Context, name string, args []string) ([]callerlog.Line, error) {
	a.note("run Job %s: echo-client %s", name, strings.Join(args, " "))
	jobs := a.client.BatchV1().Jobs(a.facts.Namespace)
	if _, err := jobs.Create(ctx, job(name, a.clients.Spec.Template, args), metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return nil, fmt.Errorf("creating Job %s: %w", name, err)
	}
	var ended *corev1.Pod
	if err := a.await(ctx, probeTimeout, "Job "+name, func(*Facts) string {
		for _, p := range a.pods {
			if p.Labels[batchv1.JobNameLabel] == name && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed) {
				ended = p
				return ""
			}
		}
		return "its pod has not ended"
	}); err != nil {
		return nil, err
	}
	raw, err := a.client.CoreV1().Pods(a.facts.Namespace).GetLogs(ended.Name, &corev1.PodLogOptions{Container: clientName}).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of Job %s: %w", name, err)
	}
	background := metav1.DeletePropagationBackground
	if err := jobs.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		return nil, fmt.Errorf("deleting Job %s: %w", name, err)
	}
	if ended.Status.Phase == corev1.PodFailed {
		return nil, fmt.Errorf("job %s failed: %s", name, strings.TrimSpace(string(raw)))
	}
	var lines []callerlog.Line
	for line, err := range callerlog.Read(bytes.NewReader(raw)) {
		if err != nil {
			return nil, fmt.Errorf("reading the log of Job %s: %w", name, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// job is the client's pod with other arguments and labels of its own.
func job(name string, template corev1.PodTemplateSpec, args []string) *batchv1.Job {
	pod := *template.DeepCopy()
	pod.Labels = map[string]string{nameLabel: probeName}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TopologySpreadConstraints = nil // they count the Deployment's pods
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == clientName {
			pod.Spec.Containers[i].Args = args
		}
	}
	never := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pod.Labels},
		Spec:       batchv1.JobSpec{BackoffLimit: &never, Template: pod},
	}
}

// target returns the client's argument that says whom it calls.
func target(template corev1.PodTemplateSpec) (string, error) {
	for _, c := range template.Spec.Containers {
		if i := slices.IndexFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--target=") }); c.Name == clientName && i >= 0 {
			return c.Args[i], nil
		}
	}
	return "", fmt.Errorf("deployment %s has no container %s with an argument --target=…", clientName, clientName)
}
