package strategy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// slowness is by how much a slow server's answers are late: far above what an answer
// takes, and far below the deadline of a call.
const slowness = 200 * time.Millisecond

// A server is slow for slowTime, which is asked for again and again: if the lab is killed,
// the server is soon fast again.
const (
	slowTime  = 10 * time.Second
	slowAgain = 3 * time.Second
)

func canBreak(kind cluster.FaultKind) func(cluster.Cluster) error {
	return func(on cluster.Cluster) error { return on.CanBreak(kind) }
}

// slowBusiest delays the answers of the server with the most calls, until it is undone or
// its container ends.
func slowBusiest(ctx context.Context, env *runner.Environment) (Done, error) {
	var pod, container string
	p := now(env)
	env.Record.Look(func(f *observe.Facts) {
		pod = busiest(f, p, p.Servers)
		container = containerID(f.Pods[pod], env.Server)
	})
	if container == "" {
		return Done{}, errors.New("no server is ready")
	}
	slow := &echopb.SetFaultsRequest{Faults: &echopb.Faults{Delay: durationpb.New(slowness)}, Lasting: durationpb.New(slowTime)}
	if err := setFaults(ctx, env, pod, slow); err != nil {
		return Done{}, err
	}
	over := func(f *observe.Facts) bool { return containerID(f.Pods[pod], env.Server) != container }
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for gone := false; !gone && poll.Sleep(holding, slowAgain) == nil; {
			_ = setFaults(holding, env, pod, slow) // the next may be answered
			env.Record.Look(func(f *observe.Facts) { gone = over(f) })
		}
	}()
	return Done{
		Text: fmt.Sprintf("pod %s answers %d ms late", pod, slowness.Milliseconds()),
		Over: over,
		Undo: func(ctx context.Context) error {
			stop()
			<-ended
			err := setFaults(ctx, env, pod, &echopb.SetFaultsRequest{})
			if err != nil {
				if now, getErr := env.Kube.Typed.CoreV1().Pods(env.Namespace).Get(ctx, pod, metav1.GetOptions{}); apierrors.IsNotFound(getErr) || getErr == nil && containerID(now, env.Server) != container {
					return nil // its slowness ended with it
				}
			}
			return err
		},
	}, nil
}

// containerID returns that of a pod's container that runs, "" without one.
func containerID(pod *corev1.Pod, name string) string {
	if pod != nil {
		for _, s := range pod.Status.ContainerStatuses {
			if s.Name == name && s.State.Terminated == nil {
				return s.ContainerID
			}
		}
	}
	return ""
}

func setFaults(ctx context.Context, env *runner.Environment, pod string, faults *echopb.SetFaultsRequest) error {
	conn, closeConn, err := adminConn(ctx, env, pod, serverAdmin)
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := echopb.NewServerControlServiceClient(conn).SetFaults(ctx, faults); err != nil {
		return fmt.Errorf("setting the delay of the server in pod %s: %w", pod, err)
	}
	return nil
}

func apiAway(ctx context.Context, env *runner.Environment) (Done, error) {
	mend, err := env.Cluster.Break(ctx, cluster.Fault{Kind: cluster.APIAway})
	return Done{Text: "no pod reaches the API server; what runs on the nodes does", Undo: mend}, err
}

// linkDown cuts the worker off that carries the most servers of the strategy.
func linkDown(ctx context.Context, env *runner.Environment) (Done, error) {
	node, servers, all, err := busiestWorker(env)
	if err != nil {
		return Done{}, err
	}
	mend, err := env.Cluster.Break(ctx, cluster.Fault{Kind: cluster.LinkDown, Node: node})
	return Done{Text: fmt.Sprintf("%s, with %d of %d servers of %s, is a black hole", node, servers, all, env.Strategy.Name), Undo: mend}, err
}

// busiestWorker returns the worker with the most ready servers of the strategy, how many
// are on it, and how many there are.
func busiestWorker(env *runner.Environment) (node string, servers, all int, err error) {
	on := map[string]int{}
	env.Record.Look(func(f *observe.Facts) {
		ready := f.ReadyNow()
		all = len(ready)
		for _, pod := range ready {
			on[f.Nodes[pod]]++
		}
	})
	workers := env.Cluster.Status().Workers()
	for _, name := range workers {
		if on[name] > on[node] {
			node = name
		}
	}
	if node == "" {
		err = fmt.Errorf("none of the %d servers is on a worker, which are %q: scale out first", all, workers)
	}
	return node, on[node], all, err
}
