package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const (
	// measureLimit is how long the clients of a measurement may take. Kubernetes ends them
	// after it, and deletes the Job, if nobody is left to do so.
	measureLimit = time.Minute
	// measureCalls is how many calls each of them makes.
	measureCalls = 100
	// measureName is that of the Job, the start of it.
	measureName = "grpc-lb-inspect-"
)

// The containers of a measurement, by how they connect.
const (
	freshConnections = "fresh-connections"
	oneConnection    = "one-connection"
	allAddresses     = "all-addresses"
)

// clients are the arguments by which the containers differ.
var clients = map[string][]string{
	freshConnections: {"--lb-policy=pick_first", fmt.Sprintf("--fresh-connections=%d", measureCalls)},
	oneConnection:    {"--lb-policy=pick_first", "--concurrency=1", fmt.Sprintf("--count=%d", measureCalls)},
	allAddresses:     {"--lb-policy=round_robin", "--rate=50", fmt.Sprintf("--count=%d", measureCalls)},
}

// Measurement is what clients of the lab's own making saw of a Service. It shows the
// path, and never the policy of an application.
type Measurement struct {
	// Target is what they called.
	Target string `json:"target"`
	// Answers counts the answers by address: of a client that opens a connection for each
	// call, of one that keeps one connection, and of one that uses all addresses of the
	// name in turn. The keys are the names of the containers.
	Answers map[string]distribution.Counts `json:"answers"`
	// Failures counts calls without an answer, by code.
	Failures map[string]int64 `json:"failures,omitempty"`
}

// Measure runs three short-lived clients in the Service's namespace, which call the health
// service. It leaves nothing: it deletes the Job, and if it is killed, Kubernetes does.
func Measure(ctx context.Context, client kubernetes.Interface, service *Service, image string) error {
	if service.port == 0 {
		return fmt.Errorf("inspect: Service %s/%s has no gRPC port whose number is known", service.Namespace, service.Name)
	}
	target := "dns:///" + net.JoinHostPort(service.Name+"."+service.Namespace+".svc", strconv.Itoa(service.port))
	ctx, cancel := context.WithTimeoutCause(ctx, measureLimit, fmt.Errorf("the clients have not ended in %s", measureLimit))
	defer cancel()
	jobs := client.BatchV1().Jobs(service.Namespace)
	job, err := jobs.Create(ctx, measureJob(target, image), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("inspect: creating a Job to measure Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	m, err := measured(ctx, client, job)
	after, done := context.WithTimeout(context.WithoutCancel(ctx), readTime)
	defer done()
	background := metav1.DeletePropagationBackground
	if left := jobs.Delete(after, job.Name, metav1.DeleteOptions{PropagationPolicy: &background}); left != nil {
		err = errors.Join(err, fmt.Errorf("deleting it, which Kubernetes does after %s: %w", measureLimit, left))
	}
	if err != nil {
		return fmt.Errorf("inspect: Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	m.Target = target
	service.Measurement = m
	service.judgeMeasurement()
	return nil
}

// measured waits for the clients to end, and reads what they counted.
func measured(ctx context.Context, client kubernetes.Interface, job *batchv1.Job) (*Measurement, error) {
	pods := client.CoreV1().Pods(job.Namespace)
	var pod string
	if err := poll.Until(ctx, time.Second, func(ctx context.Context) (string, error) {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job.Name})
		if err != nil {
			return "", err
		}
		if len(list.Items) == 0 {
			return "it has no pod", nil
		}
		pod = list.Items[0].Name
		return unended(&list.Items[0])
	}); err != nil {
		return nil, err
	}
	m := &Measurement{Answers: map[string]distribution.Counts{}, Failures: map[string]int64{}}
	for container := range clients {
		raw, err := pods.GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		summary := summaryIn(raw)
		if summary == nil {
			return nil, fmt.Errorf("container %s of pod %s counted nothing: %.300s", container, pod, bytes.TrimSpace(raw))
		}
		m.Answers[container] = summary.Servers
		for code, n := range summary.Failures {
			m.Failures[code] += n
		}
	}
	return m, nil
}

// unended says which client has not ended. It is an error if one cannot start.
func unended(pod *corev1.Pod) (string, error) {
	ended := 0
	for _, s := range pod.Status.ContainerStatuses {
		if _, ok := clients[s.Name]; !ok {
			continue // of a mesh
		}
		if waiting := s.State.Waiting; waiting != nil && slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}, waiting.Reason) {
			return "", fmt.Errorf("pod %s cannot start: %s: %s; choose another image with --image", pod.Name, waiting.Reason, waiting.Message)
		}
		if s.State.Terminated != nil {
			ended++
		}
	}
	if ended < len(clients) {
		return fmt.Sprintf("pod %s is %s, %d of its %d clients have ended", pod.Name, strings.ToLower(string(pod.Status.Phase)), ended, len(clients)), nil
	}
	return "", nil
}

func summaryIn(raw []byte) (found *calllog.Summary) {
	for line, err := range calllog.Read(bytes.NewReader(raw)) {
		if summary, ok := line.(*calllog.Summary); ok && err == nil {
			found = summary
		}
	}
	return found
}

// measureJob returns a Job that the restricted Pod Security Standard admits.
func measureJob(target, image string) *batchv1.Job {
	var containers []corev1.Container
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		containers = append(containers, corev1.Container{
			Name: name, Image: image,
			Args: append([]string{"--target=" + target, "--method=health", "--output=json", "--admin="}, clients[name]...),
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		})
	}
	labels := map[string]string{"app.kubernetes.io/name": "grpc-lb-inspect"}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{GenerateName: measureName, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: new(int32(0)), ActiveDeadlineSeconds: new(int64(measureLimit.Seconds())), TTLSecondsAfterFinished: new(int32(measureLimit.Seconds())),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(1)),
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: containers,
				},
			},
		},
	}
}

// judgeMeasurement says what the clients saw, and finds what they could not reach.
func (f *Service) judgeMeasurement() {
	m := f.Measurement
	if failed := distribution.Counts(m.Failures).Total(); failed > 0 {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(m.Failures)) {
			codes = append(codes, fmt.Sprintf("%d %s", m.Failures[code], code))
		}
		f.Findings = append(f.Findings, newFinding("not-reached", "Service/"+f.Name,
			"%d of %d calls of the lab's clients to %s failed: %s", failed, len(clients)*measureCalls, m.Target, strings.Join(codes, ", ")))
	}
	if !f.headless {
		return // one address stands for all pods
	}
	for _, address := range f.ready {
		if m.Answers[allAddresses][net.JoinHostPort(address, strconv.Itoa(f.port))] == 0 {
			f.Findings = append(f.Findings, newFinding("not-reached", "Service/"+f.Name,
				"no call to %s reached the ready pod %s, by a client that uses all addresses", m.Target, address))
		}
	}
}

// String is the measurement in one line.
func (m *Measurement) String() string {
	return fmt.Sprintf("%s, %d calls each: a connection for each call: %s; one connection: %s; all addresses in turn: %s", m.Target, measureCalls,
		byAddress(m.Answers[freshConnections]), byAddress(m.Answers[oneConnection]), byAddress(m.Answers[allAddresses]))
}

func byAddress(c distribution.Counts) string {
	if len(c) == 0 {
		return "no answer"
	}
	var parts []string
	for _, address := range c.Servers() {
		parts = append(parts, fmt.Sprintf("%s answered %d", address, c[address]))
	}
	return strings.Join(parts, ", ")
}
