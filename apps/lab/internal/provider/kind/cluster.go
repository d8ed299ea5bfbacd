package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/cluster/constants"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
)

// Cluster is a complete kind cluster. It implements cluster.Cluster.
type Cluster struct {
	*external.Cluster
	options Options
	engine  engine
	nodes   []string
	audited bool
}

var _ cluster.Cluster = (*Cluster)(nil)

// Kind implements cluster.Cluster.
func (c *Cluster) Kind() string { return name }

// Kubeconfig implements cluster.Cluster.
func (c *Cluster) Kubeconfig() string { return c.options.Kubeconfig }

// Status implements cluster.Cluster.
func (c *Cluster) Status() cluster.Status {
	s := c.Cluster.Status()
	s.Kind, s.Kubeconfig = c.Kind(), c.Kubeconfig()
	for _, name := range c.nodes {
		s.Nodes = append(s.Nodes, cluster.NodeStatus{Name: name, Container: name, ControlPlane: name == c.controlPlane()})
	}
	return s
}

// controlPlane is the name that kind gives the node of the control plane.
func (c *Cluster) controlPlane() string {
	return c.options.Name + "-" + constants.ControlPlaneNodeRoleValue
}

// LoadImages implements cluster.Cluster.
func (c *Cluster) LoadImages(ctx context.Context, archives ...string) error {
	list, err := c.engine.library(log.NoopLogger{}).ListInternalNodes(c.options.Name)
	if err != nil {
		return fmt.Errorf("kind: listing the nodes of %s: %w", c.options.Name, said(err))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range list {
		group.Go(func() error {
			for _, archive := range archives {
				if err := load(ctx, n, archive); err != nil {
					if cause := context.Cause(ctx); cause != nil {
						return cause
					}
					return fmt.Errorf("kind: loading %s into %s: %w", filepath.Base(archive), n, said(err))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func load(ctx context.Context, n nodes.Node, archive string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return nodeutils.LoadImageArchive(bound{n, ctx}, file)
}

// bound is a node whose commands end with a context.
type bound struct {
	nodes.Node
	ctx context.Context
}

// Command implements nodes.Node.
func (b bound) Command(program string, args ...string) kindexec.Cmd {
	return b.CommandContext(b.ctx, program, args...)
}

// AuditLog implements cluster.Cluster.
func (c *Cluster) AuditLog(ctx context.Context) (io.ReadCloser, error) {
	if !c.audited {
		return nil, fmt.Errorf("kind: cluster %s keeps no audit log, since its Docker daemon is on another machine: %w", c.options.Name, errors.ErrUnsupported)
	}
	cmd := exec.CommandContext(ctx, "docker", "exec", c.controlPlane(), "cat", auditLog)
	cmd.WaitDelay = stopTime
	o := &output{cmd: cmd}
	cmd.Stderr = &o.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	o.ReadCloser = out
	return o, nil
}

// output is what a program prints. Its end is an error where the program failed.
type output struct {
	io.ReadCloser
	cmd    *exec.Cmd
	stderr strings.Builder
}

// Read implements io.Reader.
func (o *output) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && o.cmd.ProcessState == nil {
		if failed := o.cmd.Wait(); failed != nil {
			return n, fmt.Errorf("kind: reading %s: %w: %s", auditLog, failed, reason(o.stderr.String()))
		}
	}
	return n, err
}

// Close implements io.Closer.
func (o *output) Close() error {
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait() // which closes the pipe, too
	}
	return nil
}
