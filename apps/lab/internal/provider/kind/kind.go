// Package kind runs a cluster in Docker by kind's own library. The library takes
// no context, so that what may take long is done here where it can be: pulling the
// node image, waiting for the cluster and deleting it. What Docker says of kind's
// label decides whether there is a cluster, not files of the lab.
package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

const (
	answerTime = 5 * time.Second
	pullTime   = 20 * time.Minute
	createTime = 10 * time.Minute
	readyTime  = 5 * time.Minute
	logsTime   = time.Minute
	clearTime  = 2 * time.Minute
	maxNodes   = 9
)

// ErrPull says that Docker cannot have the node image.
var ErrPull = errors.New("the node image cannot be pulled")

// Options say which cluster is wanted.
type Options struct {
	// Name is that of the cluster.
	Name string
	// Kubeconfig is the file that the lab keeps for a cluster that is complete.
	// Its other notes of the cluster lie beside that file.
	Kubeconfig string
	// Nodes is how many nodes a cluster gets that is created.
	Nodes int
	// NodeImage is a kind node image; empty takes the one that kind's library is
	// made for.
	NodeImage string
	// APIPort is the port of the loopback for the API; 0 takes a free one.
	APIPort int
	// Logs is a directory for the logs of a creation; those of its nodes are
	// collected when it fails. Empty keeps none.
	Logs string
	// Progress gets the steps that take long; it may be nil.
	Progress progress.Reporter
}

// Steps returns how many steps [Up] reports.
func Steps(Options) int { return 3 }

func (o Options) image() string { return cmp.Or(o.NodeImage, defaults.Image) }

// unfinished is the kubeconfig until the cluster is complete.
func (o Options) unfinished() string { return o.Kubeconfig + ".new" }

// IsAvailable returns an error unless a Docker daemon answers.
func IsAvailable(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	if _, err := docker(ctx, "version", "--format={{.Server.Version}}"); err != nil {
		return fmt.Errorf("no Docker daemon answers: %w", err)
	}
	return nil
}

// Up creates the cluster, or returns the one that is up. It first deletes
// the remains of an earlier creation. If it fails, it leaves nothing, or its error says
// what is left.
func Up(ctx context.Context, o Options) (*Cluster, error) { return newEngine().up(ctx, o) }

// Find returns the cluster that is complete, or nil; see [Left] for what is not.
func Find(ctx context.Context, o Options) (*Cluster, error) { return newEngine().find(ctx, o) }

// Left returns the names of the containers that Docker has of this cluster,
// complete or not, running or not. Their volumes go with them.
func Left(ctx context.Context, o Options) ([]string, error) { return newEngine().containers(ctx, o) }

// Down deletes the cluster, complete or not, and what the lab keeps of it, also
// where the context has ended. Without Docker there is nothing to delete, unless
// the lab began a cluster.
func Down(ctx context.Context, o Options) error { return newEngine().down(ctx, o) }

func (e engine) up(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("kind: %d nodes: expected 1 to %d", o.Nodes, maxNodes)
	}
	if on, err := e.find(ctx, o); err != nil || on != nil {
		return on, err
	}
	if err := e.down(ctx, o); err != nil {
		return nil, fmt.Errorf("what an earlier creation left: %w", err)
	}
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	made := creation{ended: make(chan struct{})}
	close(made.ended)
	defer func() {
		if err == nil {
			return
		}
		if begun, _ := o.begun(); begun {
			err = errors.Join(e.explain(ctx, o, err), e.clear(o, made.ended, settle))
		}
	}()
	if err := progress.Run(ctx, o.Progress, "pull the kind node image", pullTime, func(ctx context.Context, detail func(string)) error {
		return e.pull(ctx, o.image(), detail)
	}); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	err = progress.Run(ctx, o.Progress, "create the kind cluster", createTime, func(ctx context.Context, detail func(string)) error {
		if made, err = e.begin(ctx, o, detail); err != nil {
			return err
		}
		return made.wait(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	err = progress.Run(ctx, o.Progress, "wait for nodes and DNS", readyTime, func(ctx context.Context, detail func(string)) error {
		return e.ready(ctx, o, detail)
	})
	if err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	if err := os.Rename(o.unfinished(), o.Kubeconfig); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	return e.find(ctx, o)
}

func (e engine) find(ctx context.Context, o Options) (*Cluster, error) {
	if _, err := os.Stat(o.Kubeconfig); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no cluster was ever complete
	}
	nodes, err := e.containers(ctx, o)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	on, err := e.connect(ctx, o, o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kind: cluster %s: %w: `lab down` removes it", o.Name, err)
	}
	s, err := o.load()
	if err != nil {
		return nil, err
	}
	return &Cluster{Cluster: on, options: o, engine: e, nodes: nodes, audited: s.Audit}, nil
}

func (e engine) down(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	left, err := e.containers(ctx, o)
	begun, cut := o.begun()
	switch {
	case err != nil && !begun:
		return nil
	case err != nil:
		return fmt.Errorf("kind: cluster %s may have containers still: %w: start Docker and run `lab down` again", o.Name, err)
	case len(left) == 0 && !begun:
		return nil
	}
	patience := time.Duration(0)
	if cut {
		patience = settle // a command of that creation may run yet
	}
	return e.clear(o, nil, patience)
}

// explain collects the nodes' logs before the nodes are deleted, and adds to an
// error of the creation where they are and what the kubelet says in them. Who
// interrupts does not wait for them.
func (e engine) explain(ctx context.Context, o Options, err error) error {
	if o.Logs == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, logsTime)
	defer cancel()
	if nodes, listErr := e.containers(ctx, o); listErr != nil || len(nodes) == 0 {
		return err
	}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		_ = e.library(log.NoopLogger{}).CollectLogs(o.Name, o.Logs) // some are missing where a node did not come up
	}()
	select {
	case <-collected:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return err
	}
	files, _ := filepath.Glob(filepath.Join(o.Logs, o.Name+"-*", "kubelet.log"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if says := kubeletSays(string(text)); says != "" {
			err = fmt.Errorf("%w; the kubelet of %s says: %s", err, filepath.Base(filepath.Dir(file)), says)
		}
	}
	return fmt.Errorf("%w; logs: %s", err, o.Logs)
}

// oneLine joins what a program printed.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
