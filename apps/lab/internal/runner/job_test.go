package runner_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The log of a client that nobody answered ends in words, and has a summary all
// the same; the last failure is told in one line. A log without a summary is not
// one of a client that called.
func TestClientLog(t *testing.T) {
	const (
		first   = `{"msg":"failure","code":"Unavailable","error":"connection refused"}` + "\n"
		last    = `{"msg":"failure","code":"DeadlineExceeded","error":"too\n\tlate"}` + "\n"
		summary = `{"msg":"summary","calls":5,"failures":{"Unavailable":5}}` + "\n"
		words   = "echo-client: 5 calls to passthrough:///172.30.0.2:4140: no call was answered\n"
	)
	want := &calllog.Summary{Header: calllog.Header{Msg: "summary"}, Calls: 5, Failures: map[string]int64{"Unavailable": 5}}
	for _, test := range []struct {
		name, log string
		summary   *calllog.Summary
		failure   string
	}{
		{name: "answered", log: summary, summary: want},
		{name: "some_failed", log: first + last + summary, summary: want, failure: "DeadlineExceeded: too late"},
		{name: "nobody_answered", log: first + summary + words, summary: want, failure: "Unavailable: connection refused"},
		{name: "wrong_flags", log: "echo-client: unknown flag: --x\n"},
		{name: "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, failure, _ := runner.ClientLog([]byte(test.log))
			if diff := cmp.Diff(test.summary, got); diff != "" || failure != test.failure {
				t.Errorf("failure %q, want %q; summary (-want +got):\n%s", failure, test.failure, diff)
			}
		})
	}
}

// A Job's pod is the client's with other arguments. Elsewhere it does without the overlay's
// account; a late one has an address before its client starts; one with other files mounts
// another Secret. The Deployment's template stays as it is.
func TestClientJob(t *testing.T) {
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "echo-client"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "echo-client",
			Containers:         []corev1.Container{{Name: "echo-client", Image: "client", Args: []string{"--target=dns:///echo-server"}}},
			Volumes:            []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "echo-tls"}}}},
		},
	}
	before := template.DeepCopy()
	pod := func(change func(*corev1.PodTemplateSpec)) corev1.PodTemplateSpec {
		want := *template.DeepCopy()
		want.Labels = map[string]string{"app.kubernetes.io/name": runner.ProbeName}
		want.Spec.RestartPolicy = corev1.RestartPolicyNever
		want.Spec.Containers[0].Args = []string{"--count=1"}
		change(&want)
		return want
	}
	for _, test := range []struct {
		name string
		job  runner.ClientJob
		want corev1.PodTemplateSpec
	}{
		{"at home", runner.ClientJob{}, pod(func(*corev1.PodTemplateSpec) {})},
		{"elsewhere", runner.ClientJob{Namespace: "next"}, pod(func(p *corev1.PodTemplateSpec) {
			p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "", new(false)
		})},
		{"late", runner.ClientJob{Late: true}, pod(func(p *corev1.PodTemplateSpec) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "client", Args: []string{"--version"}}}
		})},
		{"other files", runner.ClientJob{Secret: "others"}, pod(func(p *corev1.PodTemplateSpec) { p.Spec.Volumes[0].Secret.SecretName = "others" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.job.Name, test.job.Args = "probe", []string{"--count=1"}
			if diff := cmp.Diff(test.want, runner.JobOf(test.job, template).Spec.Template); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(before, &template); diff != "" {
		t.Errorf("the template has changed (-before +after):\n%s", diff)
	}
}
