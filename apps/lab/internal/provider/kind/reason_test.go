package kind_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// Of what a failed program printed, the line that says why is found: not a hint,
// not a frame of a stack, not a line of its log.
func TestReason(t *testing.T) {
	for _, test := range []struct{ name, output, want string }{
		{name: "nothing"},
		{name: "last_line", output: "one\ntwo\n\n", want: "two"},
		{
			name:   "docker_run",
			output: "docker: Error response from daemon: Conflict. The container name \"/a\" is already in use.\n\nRun 'docker run --help' for more information\n",
			want:   "docker: Error response from daemon: Conflict. The container name \"/a\" is already in use.",
		},
		{
			name: "no_daemon",
			output: "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n" +
				"See 'docker --help'.\n",
			want: "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
		},
		{
			name: "kubeadm",
			output: `I1127 04:00:00.000000     180 initconfiguration.go:261] loading configuration, error handling on
	[WARNING SystemVerification]: cgroups v1 support was deprecated: errors may follow
[kubelet-check] Waiting for a healthy kubelet at http://127.0.0.1:10248/healthz
[kubelet-check] The kubelet is not healthy after 4m0.00s

Unfortunately, an error has occurred, likely caused by:
	- The kubelet is not running
the HTTP call equal to 'curl -sSL http://127.0.0.1:10248/healthz' returned error: connection refused
k8s.io/kubernetes/cmd/kubeadm/app/util/apiclient.(*KubeWaiter).WaitForKubelet
	k8s.io/kubernetes/cmd/kubeadm/app/util/apiclient/wait.go:300
error execution phase wait-control-plane
k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow.(*Runner).Run.func1
	k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow/runner.go:262
main.main
	k8s.io/kubernetes/cmd/kubeadm/kubeadm.go:25
runtime.goexit
	runtime/asm_amd64.s:1771
`,
			want: "the HTTP call equal to 'curl -sSL http://127.0.0.1:10248/healthz' returned error: connection refused",
		},
		{
			name:   "panic",
			output: "panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:7 +0x2b\nexit status 2\n",
			want:   "panic: assignment to entry in nil map",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := kind.Reason(test.output); got != test.want {
				t.Errorf("reason %q, want %q", got, test.want)
			}
		})
	}
}

// An error of the library names the program that failed, not its hundred
// arguments, and why it failed; others stay as they are.
func TestSaid(t *testing.T) {
	run := &kindexec.RunError{Command: []string{"docker", "exec", "--privileged", "a", "kubeadm", "init"}, Output: []byte("error: port 6443 is in use\n\tx/y.go:1\n"), Inner: errors.New("exit status 1")}
	if got, want := kind.Said(run).Error(), "docker exec failed with error: exit status 1: error: port 6443 is in use"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	if other := errors.New("no such role"); !errors.Is(kind.Said(other), other) || kind.Said(nil) != nil {
		t.Errorf("said %v and %v, want what was given", kind.Said(other), kind.Said(nil))
	}
}

// A kubelet's last words are the error that it ended with.
func TestKubeletSays(t *testing.T) {
	fatal := `Nov 27 04:00:00 a kubelet[1]: E1127 04:00:00.1 1 run.go:72] "command failed" err="failed to validate: \"x\" on cgroup v1"`
	other := `Nov 27 04:00:01 a kubelet[2]: E1127 04:00:01.1 2 pod.go:1] "Error syncing pod" err="no CNI"`
	for _, test := range []struct{ name, log, want string }{
		{name: "nothing", log: "I1127 starting\n"},
		{name: "fatal", log: fatal + "\n" + other + "\n", want: `failed to validate: "x" on cgroup v1`},
		{name: "last", log: strings.Replace(fatal, "validate", "start", 1) + "\n" + fatal, want: `failed to validate: "x" on cgroup v1`},
		{name: "not_fatal", log: other},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := kind.KubeletSays(test.log); got != test.want {
				t.Errorf("says %q, want %q", got, test.want)
			}
		})
	}
}

// The steps of the library are shown once each and bare; all that it says is kept.
func TestLogger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	var shown []string
	l, closeLog, err := kind.NewLogger(dir, func(text string) { shown = append(shown, text) })
	if err != nil {
		t.Fatal(err)
	}
	l.V(0).Infof(" • %s  ...\n", "Ensuring node image (kindest/node:v1.37.0) 🖼️")
	l.V(0).Infof(" ✓ %s\n", "Ensuring node image (kindest/node:v1.37.0) 🖼️")
	l.V(0).Infof(" • %s  ...\n", "Starting control-plane 🕹️")
	l.V(3).Info("I1127 a line of kubeadm")
	l.Warn("cgroup v1 is deprecated")
	closeLog()
	l.Errorf("after %s", "the end")
	if diff := cmp.Diff([]string{"Ensuring node image (kindest/node:v1.37.0)", "Starting control-plane"}, shown); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "kind.log"))
	if err != nil || !strings.Contains(string(kept), "a line of kubeadm\nwarning: cgroup v1 is deprecated\n") || strings.Contains(string(kept), "the end") {
		t.Errorf("kept %q, %v", kept, err)
	}
}
