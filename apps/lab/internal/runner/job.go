package runner

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// ProbeName labels the pods of Jobs; it must match no selector of an overlay.
const ProbeName = "echo-client-probe"

// ClientJob is one run of the overlay's client with other arguments. It runs as a
// Job in the cluster because the host can dial no ClusterIP.
type ClientJob struct {
	Name string
	Args []string
	// Node is where it runs, also where the node is cordoned; "" lets the scheduler
	// choose.
	Node string
	// Namespace is where it runs, "" for the strategy's. In another one its pod has no
	// ServiceAccount of the overlay.
	Namespace string
	// Late starts the client after a container that ends at once. Its pod then has its address
	// for a second or more, in which rules for that address come into force.
	Late bool
	// Labels and Annotations are added to the pod's.
	Labels, Annotations map[string]string
	// Secret, if not "", is what the pod mounts in place of the Secret with certificates.
	Secret string
	// Limit is how long it may take.
	Limit time.Duration
	// MayFail says that it is a result, too, if no call is answered.
	MayFail bool
	// Ended, if not nil, is called with the name of the pod after the client has
	// ended and before the pod is deleted.
	Ended func(ctx context.Context, pod string) error
}

// ClientResult is what the client of a Job logged.
type ClientResult struct {
	Pod     string
	Summary calllog.Summary
	// Failure is the last code and error that it logged, "" without any.
	Failure string
	// Log holds every line that it logged.
	Log []calllog.Line
}

// RunClient runs a client to its end, reads its summary and deletes the Job.
func (env *Environment) RunClient(ctx context.Context, c ClientJob) (ClientResult, error) {
	namespace := cmp.Or(c.Namespace, env.Namespace)
	jobs := env.Kube.Typed.BatchV1().Jobs(namespace)
	env.Note("run Job %s: %s %s", c.Name, env.Client, strings.Join(c.Args, " "))
	if _, err := jobs.Create(ctx, c.job(env.Clients.Spec.Template), metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return ClientResult{}, fmt.Errorf("creating Job %s: %w", c.Name, err)
	}
	pod, code, err := env.ended(ctx, c)
	if err != nil {
		return ClientResult{}, err
	}
	raw, err := env.Kube.Typed.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: env.Client}).DoRaw(ctx)
	if err != nil {
		return ClientResult{}, fmt.Errorf("reading the log of Job %s: %w", c.Name, err)
	}
	summary, failure, log := clientLog(raw)
	if summary == nil || code != 0 && !c.MayFail {
		return ClientResult{}, fmt.Errorf("job %s ended with exit code %d: %.300s", c.Name, code, bytes.TrimSpace(raw))
	}
	if c.Ended != nil {
		if err := c.Ended(ctx, pod); err != nil {
			return ClientResult{}, err
		}
	}
	background := metav1.DeletePropagationBackground
	if err := jobs.Delete(ctx, c.Name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		return ClientResult{}, fmt.Errorf("deleting Job %s: %w", c.Name, err)
	}
	return ClientResult{pod, *summary, failure, log}, nil
}

// ended waits until the Job's client has ended, and returns its pod and its exit code.
func (env *Environment) ended(ctx context.Context, c ClientJob) (pod string, code int32, err error) {
	const running = "its client has not ended"
	is := func(p *corev1.Pod) bool {
		end := exit(p, env.Client)
		if end == nil || p.Labels[batchv1.JobNameLabel] != c.Name {
			return false
		}
		pod, code = p.Name, end.ExitCode
		return true
	}
	if c.Namespace == "" {
		return pod, code, env.Await(ctx, c.Limit, "Job "+c.Name, func(f *observe.Facts) string {
			for _, p := range f.Pods {
				if is(p) {
					return ""
				}
			}
			return running
		})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("not in %s", Seconds(c.Limit)))
	defer cancel()
	err = poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) { // nobody watches that namespace
		pods, err := env.Kube.Typed.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + c.Name})
		if err != nil {
			return "", err
		}
		for i := range pods.Items {
			if is(&pods.Items[i]) {
				return "", nil
			}
		}
		return running, nil
	})
	if err != nil {
		err = fmt.Errorf("waiting for Job %s: %w", c.Name, err)
	}
	return pod, code, err
}

// clientLog reads a client's log. If no call was answered, a line in words
// follows the summary.
func clientLog(raw []byte) (summary *calllog.Summary, failure string, log []calllog.Line) {
	for line, err := range calllog.Read(bytes.NewReader(raw)) {
		if err != nil {
			continue
		}
		log = append(log, line)
		switch l := line.(type) {
		case *calllog.Summary:
			summary = l
		case *calllog.Failure:
			failure = l.Code + ": " + strings.Join(strings.Fields(l.Error), " ")
		}
	}
	return summary, failure, log
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
func (c ClientJob) job(template corev1.PodTemplateSpec) *batchv1.Job {
	pod := *template.DeepCopy()
	pod.Labels = map[string]string{observe.NameLabel: ProbeName}
	maps.Copy(pod.Labels, c.Labels)
	pod.Annotations = c.Annotations
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TopologySpreadConstraints = nil // they count the Deployment's pods
	pod.Spec.NodeName = c.Node
	if c.Namespace != "" {
		pod.Spec.ServiceAccountName, pod.Spec.AutomountServiceAccountToken = "", new(false)
	}
	pod.Spec.Containers[0].Args = c.Args
	for _, v := range pod.Spec.Volumes {
		if c.Secret != "" && v.Secret != nil && v.Secret.SecretName == manifest.TLSSecret {
			v.Secret.SecretName = c.Secret
		}
	}
	if c.Late {
		first := *pod.Spec.Containers[0].DeepCopy()
		first.Name, first.Args = "first", []string{"--version"}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, first)
	}
	never := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: map[string]string{observe.NameLabel: ProbeName}},
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
