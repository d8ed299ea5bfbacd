//go:build unix

package kind_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/coredns"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// realDocker skips unless the tests may use Docker, and fails if no daemon answers or
// if Docker lists at the end something else than before.
func realDocker(t *testing.T) kind.Options {
	t.Helper()
	node := os.Getenv("LAB_NODE_IMAGE")
	if os.Getenv("LAB_E2E") == "" || node == "" {
		t.Skip("needs LAB_E2E=1 and LAB_NODE_IMAGE: it creates clusters in Docker; .ci/kind sets both")
	}
	if err := kind.IsAvailable(t.Context()); err != nil {
		t.Fatalf("kind was not exercised: %v", err)
	}
	before := listing(t)
	t.Cleanup(func() {
		if diff := cmp.Diff(before, listing(t)); diff != "" {
			t.Errorf("Docker's own listing (-before +after):\n%s", diff)
		}
	})
	return kind.Options{
		Name:       fmt.Sprintf("grpc-lb-test-%d", os.Getpid()),
		Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Logs: filepath.Join(t.TempDir(), "logs"),
		Nodes: 2, NodeImage: node,
	}
}

// listing is all that Docker has of containers, volumes and networks.
func listing(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, args := range []string{"ps --all --quiet", "volume ls --quiet", "network ls --format={{.Name}}"} {
		out, err := exec.Command("docker", strings.Fields(args)...).Output()
		if err != nil {
			t.Fatalf("docker %s: %v", args, err)
		}
		all[args] = strings.Fields(string(out))
		slices.Sort(all[args])
	}
	return all
}

// The real library on a real Docker: two nodes that carry pods, in zones of their
// own, at the port that was asked for; images on each; an audit log; a DNS whose
// configuration is read; and nothing left.
func TestKind(t *testing.T) {
	o := realDocker(t)
	o.APIPort = freePort(t)
	c, err := kind.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	down := func() error { return kind.Down(t.Context(), o) }
	t.Cleanup(func() { _ = kind.Down(context.Background(), o) })
	if want := []string{o.Name + "-control-plane", o.Name + "-worker"}; !slices.Equal(nodesOf(c), want) {
		t.Errorf("nodes %q, want %q", nodesOf(c), want)
	}
	if left, err := kind.Left(t.Context(), o); err != nil || !slices.Equal(left, nodesOf(c)) {
		t.Errorf("Left = %q, %v, want the nodes", left, err)
	}
	if !strings.HasSuffix(c.Host(), fmt.Sprintf(":%d", o.APIPort)) {
		t.Errorf("the API is at %s, want port %d", c.Host(), o.APIPort)
	}
	if again, err := kind.Up(t.Context(), o); err != nil || !slices.Equal(nodesOf(again), nodesOf(c)) {
		t.Errorf("Up = %v, %v, want the cluster that is up", again, err)
	}
	t.Run("nodes", func(t *testing.T) {
		client, err := c.Client()
		if err != nil {
			t.Fatal(err)
		}
		list, err := client.Typed.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var zones []string
		for _, n := range list.Items {
			zones = append(zones, n.Labels["topology.kubernetes.io/zone"])
			if len(n.Spec.Taints) > 0 {
				t.Errorf("%s has taints %v, want none", n.Name, n.Spec.Taints)
			}
		}
		if slices.Sort(zones); !slices.Equal(zones, []string{"zone-a", "zone-b"}) {
			t.Errorf("zones %q, want zone-a and zone-b", zones)
		}
		if got, known := c.Architectures(t.Context()); !known || !slices.Equal(got, []string{runtime.GOARCH}) {
			t.Errorf("architectures %s, known %t, want %s", got, known, runtime.GOARCH)
		}
		if ttl, cache, known := coredns.Read(t.Context(), client.Typed); !known || ttl != 30*time.Second || cache != 0 {
			t.Errorf("DNS has TTL %s, cache %s, known %v, want kubeadm's", ttl, cache, known)
		}
	})
	t.Run("images", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(t.TempDir(), "image.tar")
		if err := image.Pack(archive, image.Image{Ref: "lab.local/loaded:1", Files: map[string]string{"/x": self}, Entrypoint: []string{"/x"}}); err != nil {
			t.Fatal(err)
		}
		if err := c.LoadImages(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodesOf(c) {
			out, err := exec.Command("docker", "exec", n, "ctr", "--namespace=k8s.io", "images", "list", "--quiet").Output()
			if err != nil || !strings.Contains(string(out), "lab.local/loaded:1") {
				t.Errorf("%s: %v, no loaded image in\n%s", n, err, out)
			}
		}
	})
	t.Run("faults", func(t *testing.T) { checkFaults(t, c) })
	t.Run("loading_interrupted", func(t *testing.T) {
		endless := filepath.Join(t.TempDir(), "endless.tar")
		if err := syscall.Mkfifo(endless, 0o600); err != nil {
			t.Fatal(err)
		}
		writer, err := os.OpenFile(endless, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = writer.Close() }()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2*time.Second, func() { cancel(errors.New("interrupted by the test")) })
		begin := time.Now()
		if err := c.LoadImages(ctx, endless); err == nil || err.Error() != "interrupted by the test" {
			t.Errorf("LoadImages = %v, want the cause", err)
		}
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("it took %s to heed the interrupt", took)
		}
	})
	t.Run("audit_log", func(t *testing.T) {
		log, err := c.AuditLog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = log.Close() }()
		if _, err := io.Copy(io.Discard, log); err != nil {
			t.Error(err)
		}
	})
	if err := down(); err != nil {
		t.Fatal(err)
	}
	if found, err := kind.Find(t.Context(), o); found != nil || err != nil {
		t.Errorf("Find = %v, %v after Down, want none", found, err)
	}
	if files, _ := filepath.Glob(o.Kubeconfig + "*"); len(files) > 0 {
		t.Errorf("files %q after Down, want none", files)
	}
}

// checkFaults breaks what nodes let through: it asks from the one of the control plane,
// and looks at the rules of both.
func checkFaults(t *testing.T, c *kind.Cluster) {
	t.Helper()
	nodes := nodesOf(c)
	in := func(node string, command ...string) (string, error) {
		out, err := exec.Command("docker", append([]string{"exec", node}, command...)...).CombinedOutput()
		return string(out), err
	}
	rules := func(node string) string {
		out, err := in(node, "nft", "list", "tables")
		if err != nil {
			t.Fatalf("the tables of %s: %v: %s", node, err, out)
		}
		return out
	}
	kubelet := func() error {
		_, err := in(nodes[0], "timeout", "3", "bash", "-c", "exec 3<>/dev/tcp/"+nodes[1]+"/10250")
		return err
	}
	for _, test := range []struct {
		fault cluster.Fault
		on    []string
		cut   bool
	}{
		{cluster.Fault{Kind: cluster.APIAway}, nodes, false},
		{cluster.Fault{Kind: cluster.DNSAway}, nodes, false},
		{cluster.Fault{Kind: cluster.LinkDown, Node: nodes[1]}, nodes[1:], true},
	} {
		if err := kubelet(); err != nil {
			t.Fatalf("the worker's kubelet before %s: %v", test.fault.Kind, err)
		}
		mend, err := c.Break(t.Context(), test.fault)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			if got, want := strings.Contains(rules(node), "lab-fault"), slices.Contains(test.on, node); got != want {
				t.Errorf("%s: %s has rules: %t, want %t", test.fault.Kind, node, got, want)
			}
		}
		if err := kubelet(); (err != nil) != test.cut {
			t.Errorf("%s: asking the worker's kubelet: %v, want cut off: %t", test.fault.Kind, err, test.cut)
		}
		for range 2 {
			if err := mend(t.Context()); err != nil {
				t.Errorf("%s: mend: %v", test.fault.Kind, err)
			}
		}
		for _, node := range nodes {
			if strings.Contains(rules(node), "lab-fault") {
				t.Errorf("%s: rules are left on %s", test.fault.Kind, node)
			}
		}
	}
	if err := kubelet(); err != nil {
		t.Errorf("the worker's kubelet after all: %v", err)
	}
	if _, err := c.Break(t.Context(), cluster.Fault{Kind: cluster.LinkDown, Node: nodes[0]}); err == nil || !strings.Contains(err.Error(), nodes[1]) {
		t.Errorf("cutting off the control plane: %v, want an error that names the worker", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// What Docker refuses is told in its own words, and leaves nothing.
func TestKindFails(t *testing.T) {
	o := realDocker(t)
	o.Nodes = 1
	t.Run("no_registry", func(t *testing.T) {
		o := o
		o.NodeImage = "127.0.0.1:1/node:1"
		_, err := kind.Up(t.Context(), o)
		if !errors.Is(err, kind.ErrPull) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Up = %v, want ErrPull and the refusal", err)
		}
	})
	t.Run("no_node_image", func(t *testing.T) {
		o := o
		o.NodeImage = "lab.local/empty:1"
		empty := exec.Command("docker", "import", "-", o.NodeImage)
		empty.Stdin = strings.NewReader(strings.Repeat("\x00", 1024))
		if out, err := empty.CombinedOutput(); err != nil {
			t.Fatalf("docker import: %v: %s", err, out)
		}
		defer func() { _ = exec.Command("docker", "rmi", o.NodeImage).Run() }()
		_, err := kind.Up(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "is no kind node image that runs here") || !strings.Contains(err.Error(), "cat") || strings.Contains(err.Error(), "--help") {
			t.Errorf("Up = %v, want the image and why it does not run", err)
		}
	})
	t.Run("port_in_use", func(t *testing.T) {
		o := o
		busy, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = busy.Close() }()
		o.APIPort = busy.Addr().(*net.TCPAddr).Port
		if _, err = kind.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("Up = %v, want the port in use", err)
		}
	})
}

// Whenever a creation is interrupted, by a terminal (which interrupts docker, too)
// or alone, or is killed and then taken down, nothing of it is left in Docker. The
// creation after a kill works at the first attempt: the last case goes on to it.
func TestInterrupts(t *testing.T) {
	o := realDocker(t)
	const pulling, asking, nodes, config, control, network, joining, waiting = "pull the kind node image", "asking the image", "Preparing nodes", "Writing configuration", "Starting control-plane", "Installing CNI", "Joining worker nodes", "wait for nodes and DNS"
	const terminal, alone, kill = "terminal", "alone", "kill"
	for _, test := range []struct {
		name, at, how string
		after         time.Duration
		slow          bool // it is done with LAB_E2E=all
	}{
		{name: "pulling_terminal", at: pulling, how: terminal, after: time.Second},
		{name: "pulling_kill", at: pulling, how: kill, after: time.Second},
		{name: "asking_alone", at: asking, how: alone},
		{name: "asking_kill", at: asking, how: kill, after: 300 * time.Millisecond},
		{name: "nodes_at_once_alone", at: nodes, how: alone},
		{name: "nodes_at_once_kill", at: nodes, how: kill},
		{name: "nodes_terminal", at: nodes, how: terminal, after: 300 * time.Millisecond},
		{name: "nodes_alone", at: nodes, how: alone, after: 700 * time.Millisecond},
		{name: "nodes_kill", at: nodes, how: kill, after: 700 * time.Millisecond},
		{name: "configuration_terminal", at: config, how: terminal},
		{name: "kubeadm_alone", at: control, how: alone, after: time.Second},
		{name: "kubeadm_terminal", at: control, how: terminal, after: 6 * time.Second},
		{name: "kubeadm_kill", at: control, how: kill, after: 3 * time.Second},
		{name: "network_alone", at: network, how: alone, slow: true},
		{name: "joining_terminal", at: joining, how: terminal, slow: true},
		{name: "joining_kill", at: joining, how: kill},
		{name: "waiting_alone", at: waiting, how: alone, slow: true},
		{name: "waiting_terminal", at: waiting, how: terminal, after: time.Second, slow: true},
		{name: "waiting_kill", at: waiting, how: kill, after: time.Second},
	} {
		if test.slow && os.Getenv("LAB_E2E") != "all" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			before := listing(t)
			interrupt(t, o, test.at, test.how, test.after)
			if diff := cmp.Diff(before, listing(t)); diff != "" {
				t.Errorf("Docker's own listing (-before +after):\n%s", diff)
			}
			if files, _ := filepath.Glob(o.Kubeconfig + "*"); len(files) > 0 {
				t.Errorf("files left: %q", files)
			}
		})
	}
	t.Run("up_after_kill", func(t *testing.T) {
		o := o
		o.Nodes = 1
		start(t, o, control, func(p *os.Process) error { return p.Kill() }, time.Second)
		if _, err := kind.Up(t.Context(), o); err != nil {
			t.Errorf("Up = %v, want a cluster at the first attempt", err)
		}
		if err := kind.Down(t.Context(), o); err != nil {
			t.Error(err)
		}
	})
}

func interrupt(t *testing.T, o kind.Options, at, how string, after time.Duration) {
	t.Helper()
	begin := time.Now()
	output := start(t, o, at, func(p *os.Process) error {
		begin = time.Now()
		switch how {
		case "terminal":
			return syscall.Kill(-p.Pid, syscall.SIGINT)
		case "alone":
			return p.Signal(os.Interrupt)
		}
		return p.Kill()
	}, after)
	if how == "kill" {
		if err := kind.Down(t.Context(), o); err != nil {
			t.Error(err)
		}
	} else if !strings.Contains(output, "failed: kind: ") || !strings.Contains(output, context.Canceled.Error()) && !strings.Contains(output, "interrupt") || strings.Contains(output, "is not deleted") {
		t.Errorf("it said\n%s\nwant that it was interrupted, and no failed deletion", output)
	}
	t.Logf("clean after %s", time.Since(begin).Round(100*time.Millisecond))
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

// start runs a creation in a process of its own and ends it by stop, some time
// after it printed a line that begins so. It returns what was printed.
func start(t *testing.T, o kind.Options, at string, stop func(*os.Process) error, after time.Duration) string {
	t.Helper()
	if at == "pull the kind node image" {
		o.NodeImage = stalledRegistry(t) + "/node:1"
	}
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperEnv+"="+string(options))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	var stopped *time.Timer
	for printed := bufio.NewScanner(out); printed.Scan(); {
		fmt.Fprintln(&all, printed.Text())
		if stopped == nil && strings.HasPrefix(printed.Text(), at) {
			stopped = time.AfterFunc(after, func() { _ = stop(cmd.Process) })
		}
	}
	if err := cmd.Wait(); err == nil || stopped == nil {
		t.Fatalf("ended with %v before %q:\n%s", err, at, all.String())
	}
	stopped.Stop()
	return all.String()
}

// stalledRegistry answers that it is one, and never with an image.
func stalledRegistry(t *testing.T) string {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	t.Cleanup(func() {
		close(ended)
		server.CloseClientConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// nodesOf returns the names of the nodes' containers.
func nodesOf(c *kind.Cluster) (names []string) {
	for _, n := range c.Status().Nodes {
		names = append(names, n.Container)
	}
	return names
}
