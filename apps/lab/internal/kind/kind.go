// Package kind runs a cluster in Docker by kind's own library. All that is
// particular to it is to create the cluster, to load images and to delete it.
package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/existing"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

const (
	answerTime = 5 * time.Second
	readyTime  = 5 * time.Minute
	maxNodes   = 9
)

// Options say which cluster is wanted.
type Options struct {
	// Name is that of the cluster.
	Name string
	// Kubeconfig is the file that the lab keeps for it.
	Kubeconfig string
	// Nodes is how many nodes a cluster gets that is created.
	Nodes int
	// APIPort is the port of the loopback at which the API answers; 0 takes a free one.
	APIPort int
	// NodeImage is the nodes' image; empty takes kind's own.
	NodeImage string
	// Logs is a directory that gets the logs of nodes that could not be created.
	Logs     string
	Progress progress.Reporter
}

// ErrPull says that the nodes' image cannot be pulled.
var ErrPull = errors.New("the image cannot be pulled")

// Steps returns how many steps Up reports.
func Steps(Options) int { return 1 }

// Left names what Docker still has of the cluster.
func Left(ctx context.Context, o Options) ([]string, error) {
	if !Made(o) {
		return nil, nil
	}
	return []string{o.Kubeconfig}, nil
}

// Status implements cluster.Cluster.
func (c *Cluster) Status() cluster.Status { return c.Cluster.Status() }

// Cluster is a running kind cluster. It implements cluster.Cluster.
type Cluster struct {
	*existing.Cluster
	options  Options
	provider provider
}

var _ cluster.Cluster = (*Cluster)(nil)

// provider is the part of kind's library that is used.
type provider interface {
	Create(name string, options ...kindcluster.CreateOption) error
	Delete(name, kubeconfig string) error
	ListInternalNodes(name string) ([]nodes.Node, error)
}

func newProvider() provider { return kindcluster.NewProvider(kindcluster.ProviderWithDocker()) }

// Answers returns an error unless a Docker daemon answers.
func Answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "version", "--format={{.Server.Version}}").CombinedOutput()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		said := strings.Join(strings.Fields(string(out)), " ")
		return fmt.Errorf("no Docker daemon answers: %s", cmp.Or(said, err.Error()))
	}
	return nil
}

// Up creates the cluster, or returns the one that is up. When it fails it leaves
// nothing.
func Up(ctx context.Context, o Options) (*Cluster, error) { return up(ctx, o, newProvider(), connect) }

type connector func(context.Context, Options) (*existing.Cluster, error)

func connect(ctx context.Context, o Options) (*existing.Cluster, error) {
	return existing.Connect(ctx, existing.Options{Kubeconfig: o.Kubeconfig, Context: "kind-" + o.Name})
}

func up(ctx context.Context, o Options, p provider, connect connector) (*Cluster, error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("kind: %d nodes: expected 1 to %d", o.Nodes, maxNodes)
	}
	if on, err := find(ctx, o, p, connect); err != nil || on != nil {
		return on, err
	}
	if err := os.MkdirAll(filepath.Dir(o.Kubeconfig), 0o755); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	if err := create(ctx, o, p); err != nil {
		return nil, errors.Join(fmt.Errorf("kind: creating cluster %s: %w", o.Name, said(err)), down(o, p))
	}
	on, err := connect(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kind: %w", err), down(o, p))
	}
	return &Cluster{on, o, p}, nil
}

// create ends early when the context does: a node that is deleted meanwhile makes
// the library give up.
func create(ctx context.Context, o Options, p provider) error {
	config := &v1alpha4.Cluster{TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"}}
	config.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}
	for range o.Nodes - 1 {
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole})
	}
	created := make(chan error, 1)
	go func() {
		created <- p.Create(o.Name, kindcluster.CreateWithV1Alpha4Config(config), kindcluster.CreateWithKubeconfigPath(o.Kubeconfig),
			kindcluster.CreateWithWaitForReady(readyTime), kindcluster.CreateWithDisplayUsage(false), kindcluster.CreateWithDisplaySalutation(false))
	}()
	select {
	case err := <-created:
		return err
	case <-ctx.Done():
		_ = p.Delete(o.Name, o.Kubeconfig) // which ends its making
		if <-created == nil {
			_ = p.Delete(o.Name, o.Kubeconfig) // it was made all the same
		}
		return context.Cause(ctx)
	}
}

// Find returns the cluster that is up, or nil.
func Find(ctx context.Context, o Options) (*Cluster, error) {
	return find(ctx, o, newProvider(), connect)
}

// find takes the kubeconfig for the sign that there is a cluster: only the lab
// writes it, and removes it together with the cluster.
func find(ctx context.Context, o Options, p provider, connect connector) (*Cluster, error) {
	if !Made(o) {
		return nil, nil
	}
	list, err := p.ListInternalNodes(o.Name)
	if err != nil {
		return nil, fmt.Errorf("kind: listing the nodes of %s: %w", o.Name, said(err))
	}
	if len(list) == 0 {
		return nil, nil
	}
	on, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("kind: cluster %s: %w: `lab down` removes it", o.Name, err)
	}
	return &Cluster{on, o, p}, nil
}

// Made tells whether the lab made a cluster that it did not delete since.
func Made(o Options) bool {
	_, err := os.Stat(o.Kubeconfig)
	return err == nil
}

// Down deletes the cluster, running or not.
func Down(ctx context.Context, o Options) error { return down(o, newProvider()) }

func down(o Options, p provider) error {
	if err := p.Delete(o.Name, o.Kubeconfig); err != nil {
		return fmt.Errorf("kind: deleting cluster %s: %w", o.Name, said(err))
	}
	for _, file := range []string{o.Kubeconfig, o.Kubeconfig + ".lock"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("kind: %w", err)
		}
	}
	return nil
}

// Kind implements cluster.Cluster.
func (c *Cluster) Kind() string { return "kind" }

// LoadImages implements cluster.Cluster.
func (c *Cluster) LoadImages(ctx context.Context, archives ...string) error {
	list, err := c.provider.ListInternalNodes(c.options.Name)
	if err != nil {
		return fmt.Errorf("kind: listing the nodes of %s: %w", c.options.Name, said(err))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range list {
		group.Go(func() error {
			for _, archive := range archives {
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				if err := load(n, archive); err != nil {
					return fmt.Errorf("kind: loading %s into %s: %w", filepath.Base(archive), n, said(err))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func load(n nodes.Node, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return nodeutils.LoadImageArchive(n, file)
}

// said adds what a program that the library ran printed last.
func said(err error) error {
	run := kindexec.RunErrorForError(err)
	if run == nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(run.Output)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}
