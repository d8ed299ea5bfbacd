//go:build linux

package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// Cluster is a running built-in cluster. It implements cluster.Cluster.
type Cluster struct {
	dirs  Dirs
	state state
}

var _ cluster.Cluster = (*Cluster)(nil)

// Find returns the cluster of this checkout that is up, or nil.
func Find(d Dirs) (*Cluster, error) {
	s, err := d.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !s.Ready || slices.ContainsFunc(s.Nodes, func(n node.Node) bool { return !n.Alive() }) {
		return nil, nil
	}
	return &Cluster{dirs: d, state: s}, nil
}

// Down ends the cluster of this checkout, running or not, and removes all that
// it left. It is the caller's part to hold the lock.
func Down(ctx context.Context, d Dirs) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	s, err := d.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(s.Nodes) > 0 && os.Geteuid() != 0 {
		return fmt.Errorf("builtin: this checkout's cluster is root's to end: run: %s", sudo.Line())
	}
	var errs []error
	for _, n := range s.Nodes {
		errs = append(errs, n.Kill(ctx))
	}
	return errors.Join(append(errs, removeCgroup(cgroupRoot, d.cgroup()), d.remove())...)
}

// remove forgets a dead cluster and keeps its logs. A directory that still
// has something in it is a mount point in use, and stays.
func (d Dirs) remove() error {
	var errs []error
	dirs, _ := filepath.Glob(d.node("*"))
	for _, dir := range append(dirs, d.node("")) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, f := range []string{d.state(), d.kubeconfig()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Kind implements cluster.Cluster.
func (c *Cluster) Kind() string { return "builtin" }

// Kubeconfig implements cluster.Cluster.
func (c *Cluster) Kubeconfig() string { return c.dirs.kubeconfig() }

// Versions implements cluster.Cluster.
func (c *Cluster) Versions() map[string]string { return c.state.Versions }

// DNS implements cluster.Cluster: the values are those of its
// CoreDNS configuration.
func (c *Cluster) DNS(context.Context) cluster.DNS {
	return cluster.DNS{TTL: DNSTTL * time.Second, Cache: DNSCache * time.Second}
}

// Architectures implements cluster.Cluster.
func (c *Cluster) Architectures(context.Context) ([]string, bool) {
	return []string{runtime.GOARCH}, true
}

// Nodes returns the cluster's nodes.
func (c *Cluster) Nodes() []node.Node { return c.state.Nodes }

// Status implements cluster.Cluster. Each process of each node has a log of its own.
func (c *Cluster) Status() cluster.Status {
	s := cluster.Status{Kind: c.Kind(), API: c.state.API, Kubeconfig: c.Kubeconfig(), Logs: c.dirs.logs(""), Versions: c.Versions()}
	for i, n := range c.state.Nodes {
		s.Nodes = append(s.Nodes, cluster.NodeStatus{Name: n.Name, Pid: n.Pid, ControlPlane: i == 0})
	}
	return s
}

// RESTConfig implements cluster.Cluster.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.dirs.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("builtin: %w", err)
	}
	cfg.QPS, cfg.Burst = -1, -1 // the lab is the only user
	return cfg, nil
}

// AuditLog implements cluster.Cluster.
func (c *Cluster) AuditLog(context.Context) (io.ReadCloser, error) {
	return os.Open(c.dirs.auditLog())
}

// LoadImages implements cluster.Cluster.
func (c *Cluster) LoadImages(ctx context.Context, archives ...string) error {
	errs := make(chan error)
	for _, n := range c.state.Nodes {
		go func() {
			for _, a := range archives {
				if err := importImages(ctx, &n, a); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var all []error
	for range c.state.Nodes {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func importImages(ctx context.Context, n *node.Node, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("builtin: %w", err)
	}
	defer f.Close()
	cmd := n.Command(ctx, nil, "/opt/lab/containerd/ctr", "--namespace=k8s.io", "images", "import", "-")
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("builtin: importing %s into %s: %w:\n%s", filepath.Base(archive), n.Name, err, lastLines(out, 3))
	}
	return nil
}

// kubectl runs the cluster's own kubectl on the host.
func kubectl(ctx context.Context, program, kubeconfig string, stdin io.Reader, args ...string) error {
	cmd := exec.CommandContext(ctx, program, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	cmd.Stdin = stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("kubectl %s: %w:\n%s", args[0], err, lastLines(out, 3))
	}
	return nil
}

// listen opens the API's port on the host's loopback; 0 takes a free one.
func listen(port int) (*net.TCPListener, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, fmt.Errorf("builtin: port %d of the loopback cannot be had for the API: %w: give another with --api-port, or 0 for any", port, err)
	}
	return ln, nil
}
