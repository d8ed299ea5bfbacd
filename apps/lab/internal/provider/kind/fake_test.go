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
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// fakeDocker stands in for Docker and for kind's library, which knows Docker only.
type fakeDocker struct {
	options kind.Options
	// created is what kind's library does once asked; nil makes a complete
	// cluster.
	created func() error
	ready   func(ctx context.Context) error
	// dead is the daemon's error, rmErr that of a deletion, pullErr that of a pull.
	dead, rmErr, pullErr, loadErr error
	hasImage                      bool

	mu         sync.Mutex
	containers []string
	network    bool
	calls      []string
}

func (f *fakeDocker) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// noted returns the calls whose first word is one of those.
func (f *fakeDocker) noted(words ...string) (calls []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if slices.Contains(words, strings.Fields(c)[0]) {
			calls = append(calls, c)
		}
	}
	return calls
}

func (f *fakeDocker) add(containers ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers = append(f.containers, containers...)
	f.network = true
}

// die lets the daemon answer no more.
func (f *fakeDocker) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = errors.New("docker ps: cannot connect")
}

func (f *fakeDocker) left() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.containers)
}

func (f *fakeDocker) docker(ctx context.Context, line func(string), args ...string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead != nil {
		return "", f.dead
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	f.calls = append(f.calls, strings.Join(args, " "))
	switch command := strings.Join(args[:2], " "); {
	case args[0] == "ps":
		return strings.Join(f.containers, "\n"), nil
	case args[0] == "rm":
		if f.rmErr == nil {
			f.containers = nil
		}
		return "", f.rmErr
	case command == "image inspect" && !f.hasImage:
		return "", errors.New("no such image")
	case args[0] == "pull":
		line("0123: Pulling fs layer")
		line("0123: Pull complete")
		return "", f.pullErr
	case command == "network inspect" && !f.network:
		return "", errors.New("no such network")
	case command == "network rm":
		f.network = false
	case args[0] == "info":
		return "1\n", nil
	case command == "context inspect":
		return "unix:///var/run/docker.sock\n", nil
	case args[0] == "run":
		return "v1.37.2\n", nil
	}
	return "", nil
}

func (f *fakeDocker) fake() kind.Fake {
	return kind.Fake{
		Docker:  f.docker,
		Library: func(log.Logger) kind.Library { return f },
		Connect: func(context.Context, kind.Options, string) (*external.Cluster, error) {
			return &external.Cluster{}, nil
		},
		Ready: func(ctx context.Context, _ kind.Options, _ func(string)) error {
			if f.ready == nil {
				return nil
			}
			return f.ready(ctx)
		},
	}
}

// Create implements kind.Library.
func (f *fakeDocker) Create(name string, _ ...kindcluster.CreateOption) error {
	f.note("create %s", name)
	if f.created != nil {
		return f.created()
	}
	f.add("one", "two")
	return os.WriteFile(f.options.Unfinished(), nil, 0o600)
}

// CollectLogs implements kind.Library.
func (f *fakeDocker) CollectLogs(name, dir string) error {
	f.note("logs with %d containers", len(f.left()))
	node := filepath.Join(dir, name+"-control-plane")
	if err := os.MkdirAll(node, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(node, "kubelet.log"), []byte(`E1127 run.go:72] "command failed" err="no cgroup v1"`), 0o600)
}

// ListInternalNodes implements kind.Library.
func (f *fakeDocker) ListInternalNodes(string) (list []nodes.Node, err error) {
	for _, name := range f.left() {
		list = append(list, &fakeNode{name: name, of: f})
	}
	return list, nil
}

type fakeNode struct {
	nodes.Node
	name string
	of   *fakeDocker
}

func (n *fakeNode) String() string { return n.name }

func (n *fakeNode) CommandContext(ctx context.Context, program string, args ...string) kindexec.Cmd {
	return &fakeCmd{ctx: ctx, node: n, line: program + " " + strings.Join(args, " ")}
}

// fakeCmd answers containerd's configuration and takes images.
type fakeCmd struct {
	kindexec.Cmd
	ctx    context.Context
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

// newFake returns a Docker without containers and the options of a cluster on it.
func newFake(t *testing.T) (*fakeDocker, kind.Options) {
	t.Helper()
	dir := t.TempDir()
	o := kind.Options{
		Name: "grpc-lb-test", Kubeconfig: filepath.Join(dir, "sub", "kubeconfig"), Nodes: 2,
		NodeImage: "example.com/node:1", Logs: filepath.Join(dir, "logs"),
	}
	return &fakeDocker{options: o}, o
}

// wantNothing fails unless Docker has nothing and the lab has kept no file.
func (f *fakeDocker) wantNothing(t *testing.T) {
	t.Helper()
	if left := f.left(); len(left) > 0 || f.network {
		t.Errorf("left: containers %q, network %v, want none", left, f.network)
	}
	if files, _ := filepath.Glob(f.options.Kubeconfig + "*"); len(files) > 0 {
		t.Errorf("files left: %q, want none", files)
	}
}

const short = time.Second
