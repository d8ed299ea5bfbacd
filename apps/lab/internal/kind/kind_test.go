package kind_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/existing"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeKind stands in for kind's library and Docker.
type fakeKind struct {
	kubeconfig string
	// hang lets Create wait until the cluster is deleted.
	hang      chan struct{}
	createErr error
	loadErr   error

	mu    sync.Mutex
	calls []string
	up    bool
}

func (f *fakeKind) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fakeKind) Create(name string, _ ...kindcluster.CreateOption) error {
	f.note("create %s", name)
	if f.hang != nil {
		<-f.hang
		return errors.New("the node is gone")
	}
	if f.createErr != nil {
		return f.createErr
	}
	f.up = true
	return os.WriteFile(f.kubeconfig, nil, 0o600)
}

func (f *fakeKind) Delete(name, kubeconfig string) error {
	f.note("delete %s", name)
	if kubeconfig != f.kubeconfig {
		return fmt.Errorf("kubeconfig %s, want %s", kubeconfig, f.kubeconfig)
	}
	if f.hang != nil {
		select {
		case <-f.hang:
		default:
			close(f.hang)
		}
	}
	f.up = false
	return nil
}

func (f *fakeKind) ListInternalNodes(string) ([]nodes.Node, error) {
	if !f.up {
		return nil, nil
	}
	return []nodes.Node{&fakeNode{name: "one", of: f}, &fakeNode{name: "two", of: f}}, nil
}

type fakeNode struct {
	nodes.Node
	name string
	of   *fakeKind
}

func (n *fakeNode) String() string { return n.name }

func (n *fakeNode) Command(program string, args ...string) kindexec.Cmd {
	return &fakeCmd{node: n, line: program + " " + strings.Join(args, " ")}
}

func (n *fakeNode) CommandContext(_ context.Context, program string, args ...string) kindexec.Cmd {
	return n.Command(program, args...)
}

// fakeCmd answers containerd's configuration and takes images.
type fakeCmd struct {
	kindexec.Cmd
	node   *fakeNode
	line   string
	stdin  io.Reader
	stdout io.Writer
}

func (c *fakeCmd) SetStdin(r io.Reader) kindexec.Cmd  { c.stdin = r; return c }
func (c *fakeCmd) SetStdout(w io.Writer) kindexec.Cmd { c.stdout = w; return c }
func (c *fakeCmd) SetStderr(io.Writer) kindexec.Cmd   { return c }
func (c *fakeCmd) SetEnv(...string) kindexec.Cmd      { return c }

func (c *fakeCmd) Run() error {
	if strings.Contains(c.line, "config") {
		_, err := io.WriteString(c.stdout, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"overlayfs\"\n")
		return err
	}
	if c.node.of.loadErr != nil {
		return c.node.of.loadErr
	}
	content, err := io.ReadAll(c.stdin)
	c.node.of.note("%s gets %s", c.node.name, content)
	return err
}

func options(t *testing.T) kind.Options {
	t.Helper()
	return kind.Options{Name: "grpc-lb-test", Kubeconfig: filepath.Join(t.TempDir(), "sub", "kubeconfig"), Nodes: 2}
}

func connected(context.Context, kind.Options) (*existing.Cluster, error) {
	return &existing.Cluster{}, nil
}

// A cluster is created once and found again, every node gets every image, and
// deleting it leaves no file.
func TestLife(t *testing.T) {
	o := options(t)
	f := &fakeKind{kubeconfig: o.Kubeconfig}
	for range 2 {
		c, err := kind.UpWith(t.Context(), o, f, connected)
		if err != nil || c.Kind() != "kind" {
			t.Fatalf("Up = %v, %v", c, err)
		}
	}
	c, err := kind.UpWith(t.Context(), o, f, connected)
	if err != nil {
		t.Fatal(err)
	}
	var archives []string
	for _, name := range []string{"a", "b"} {
		archive := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(archive, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		archives = append(archives, archive)
	}
	if err := c.LoadImages(t.Context(), archives...); err != nil {
		t.Fatal(err)
	}
	if !kind.Made(o) {
		t.Error("Made = false, want true")
	}
	if err := kind.DownWith(o, f); err != nil {
		t.Fatal(err)
	}
	if kind.Made(o) {
		t.Error("Made = true after Down, want false")
	}
	slices.Sort(f.calls)
	want := []string{"create grpc-lb-test", "delete grpc-lb-test", "one gets a", "one gets b", "two gets a", "two gets b"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls, sorted (-want +got):\n%s", diff)
	}
}

// What fails leaves nothing, and the error says what the failed program printed.
func TestUpFails(t *testing.T) {
	o := options(t)
	f := &fakeKind{kubeconfig: o.Kubeconfig, createErr: &kindexec.RunError{Command: []string{"docker", "run"}, Output: []byte("noise\nno space left\n"), Inner: errors.New("exit status 1")}}
	_, err := kind.UpWith(t.Context(), o, f, connected)
	if err == nil || !strings.Contains(err.Error(), "no space left") || strings.Contains(err.Error(), "noise") {
		t.Errorf("Up = %v, want docker's last line", err)
	}
	if diff := cmp.Diff([]string{"create grpc-lb-test", "delete grpc-lb-test"}, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	o.Nodes = 0
	if _, err := kind.UpWith(t.Context(), o, f, connected); err == nil || !strings.Contains(err.Error(), "0 nodes: expected 1 to 9") {
		t.Errorf("Up = %v, want the number of nodes", err)
	}
}

// An interrupt ends a creation that takes minutes.
func TestUpInterrupted(t *testing.T) {
	o := options(t)
	f := &fakeKind{kubeconfig: o.Kubeconfig, hang: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted by the test"))
	_, err := kind.UpWith(ctx, o, f, connected)
	if err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
		t.Errorf("Up = %v, want the cause", err)
	}
	if f.calls[len(f.calls)-1] != "delete grpc-lb-test" || kind.Made(o) {
		t.Errorf("calls %q, want a deletion at the end and nothing left", f.calls)
	}
}

// An image that cannot be loaded names node and image.
func TestLoadImagesFails(t *testing.T) {
	o := options(t)
	f := &fakeKind{kubeconfig: o.Kubeconfig}
	c, err := kind.UpWith(t.Context(), o, f, connected)
	if err != nil {
		t.Fatal(err)
	}
	f.loadErr = errors.New("ctr failed")
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadImages(t.Context(), archive); err == nil || !strings.Contains(err.Error(), "a.tar") || !strings.Contains(err.Error(), "ctr failed") {
		t.Errorf("LoadImages = %v, want the archive and the reason", err)
	}
}

// The real library and a real Docker, where there is one: a node that is Ready,
// and nothing left.
func TestKind(t *testing.T) {
	if err := kind.Answers(t.Context()); err != nil {
		t.Skipf("kind was not exercised: not run: %v", err)
	}
	if os.Getenv("LAB_E2E") == "" {
		t.Skip("needs LAB_E2E=1: it creates a cluster in Docker")
	}
	o := kind.Options{Name: fmt.Sprintf("grpc-lb-test-%d", os.Getpid()), Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Nodes: 1}
	c, err := kind.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Versions()["kubernetes"] == "" {
		t.Error("the cluster has no version")
	}
	if err := kind.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if found, err := kind.Find(t.Context(), o); found != nil || err != nil {
		t.Errorf("Find = %v, %v after Down, want none", found, err)
	}
}
