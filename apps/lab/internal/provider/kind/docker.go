package kind

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
)

const (
	// clusterLabel is on every container that kind makes.
	clusterLabel = "io.x-k8s.kind.cluster"
	network      = "kind"
	name         = "kind" // of the kind of cluster

	// settle is for how long nothing may appear after a creation was cut off:
	// a `docker run` of it may be on its way.
	settle   = 3 * time.Second
	interval = 200 * time.Millisecond
	// stopTime is what a program gets to end once its context has.
	stopTime = 5 * time.Second
)

// engine is what the package works with; tests put others in place.
type engine struct {
	// docker runs the docker command, tells each line that it prints and returns
	// them all.
	docker  func(ctx context.Context, line func(string), args ...string) (string, error)
	library func(log.Logger) library
	connect func(ctx context.Context, o Options, kubeconfig string) (*external.Cluster, error)
	ready   func(ctx context.Context, o Options, detail func(string)) error
}

// library is the part of kind's library that is used.
type library interface {
	Create(name string, options ...kindcluster.CreateOption) error
	CollectLogs(name, dir string) error
	ListInternalNodes(name string) ([]nodes.Node, error)
}

func newEngine() engine {
	e := engine{docker: runDocker, library: newLibrary, connect: connect}
	e.ready = e.waitReady
	return e
}

func newLibrary(logger log.Logger) library {
	return kindcluster.NewProvider(kindcluster.ProviderWithDocker(), kindcluster.ProviderWithLogger(logger))
}

func connect(ctx context.Context, o Options, kubeconfig string) (*external.Cluster, error) {
	return external.Connect(ctx, external.Options{Kubeconfig: kubeconfig, Context: "kind-" + o.Name})
}

func docker(ctx context.Context, args ...string) (string, error) {
	return runDocker(ctx, func(string) {}, args...)
}

// runDocker says in its error what docker gave as the reason.
func runDocker(ctx context.Context, line func(string), args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.WaitDelay = stopTime // a helper of docker may hold the output open
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, in := io.Pipe()
	cmd.Stdout = in
	var all strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			line(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // a line that is too long
	}()
	err := cmd.Run()
	_ = in.Close()
	<-read
	if err == nil {
		return all.String(), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return "", cause
	}
	if why := reason(stderr.String()); why != "" {
		err = errors.New(why)
	}
	return "", fmt.Errorf("docker %s: %w", args[0], err)
}

func (e engine) run(ctx context.Context, args ...string) (string, error) {
	return e.docker(ctx, func(string) {}, args...)
}

// containers asks Docker for the cluster's containers, running or not.
func (e engine) containers(ctx context.Context, o Options) ([]string, error) {
	out, err := e.run(ctx, "ps", "--all", "--filter=label="+clusterLabel+"="+o.Name, "--format={{.Names}}")
	if err != nil {
		return nil, fmt.Errorf("kind: listing the containers of %s: %w", o.Name, err)
	}
	names := strings.Fields(out)
	slices.Sort(names)
	return names, nil
}

// clear deletes the cluster's containers and volumes until the creation has ended
// and nothing appeared for as long as patience; a nil channel is no creation of
// this process. It then removes the network where the lab made it, and all that
// the lab noted.
func (e engine) clear(o Options, ended <-chan struct{}, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), clearTime, fmt.Errorf("not in %s", clearTime))
	defer cancel()
	quietSince := time.Now()
	var left []string
	var failed error
	for ctx.Err() == nil {
		now, err := e.containers(ctx, o)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return errors.Join(fmt.Errorf("kind: cluster %s is not deleted: %w: run `lab down`", o.Name, err), failed)
		}
		if left = now; len(left) > 0 {
			_, failed = e.run(ctx, append([]string{"rm", "--force", "--volumes"}, left...)...)
			quietSince = time.Now()
			if failed == nil && patience == 0 {
				continue // to see that they are gone
			}
		}
		select {
		case <-ended:
			ended, quietSince = nil, time.Now()
		default:
		}
		if len(left) == 0 && ended == nil && time.Since(quietSince) >= patience {
			return e.forget(ctx, o)
		}
		_ = poll.Sleep(ctx, interval) // the loop ends with the context
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return fmt.Errorf("kind: cluster %s is not deleted, Docker has %q of it: %w: run `lab down`", o.Name, left, failed)
}

// forget removes the network that the lab's cluster brought, unless somebody else
// uses it by now, and the lab's files.
func (e engine) forget(ctx context.Context, o Options) error {
	s, err := o.load()
	if err != nil {
		return err
	}
	if s.Network {
		users, err := e.run(ctx, "ps", "--all", "--quiet", "--filter=network="+network)
		if err == nil && strings.TrimSpace(users) == "" && e.hasNetwork(ctx) {
			_, err = e.run(ctx, "network", "rm", network)
		}
		if err != nil {
			return fmt.Errorf("kind: removing the network of %s: %w", o.Name, err)
		}
	}
	for _, file := range []string{o.unfinished(), o.unfinished() + ".lock", o.Kubeconfig, o.Kubeconfig + ".lock", o.auditDir(), o.state()} {
		if err := os.RemoveAll(file); err != nil {
			return fmt.Errorf("kind: %w", err)
		}
	}
	return nil
}

func (e engine) hasNetwork(ctx context.Context) bool {
	_, err := e.run(ctx, "network", "inspect", network)
	return err == nil
}
