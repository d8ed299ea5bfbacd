package strategy

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// lateStart is how long a client tries to start without a control plane.
const lateStart = 8 * time.Second

// listProcesses notes what runs in the clients' and the servers' pods.
func listProcesses(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	used, err := a.Usage(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		a.Record.Update(func(f *observe.Facts) {
			f.ProcessesUnknown = observe.Reason{Kind: observe.OutOfReach, Text: "the processes of this cluster's pods are out of reach"}
		})
		return nil
	}
	if err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) {
		f.Processes = map[string][]string{}
		for _, c := range used {
			f.Processes[c.Pod] = append(f.Processes[c.Pod], c.Commands...)
		}
	})
	return nil
}

// startWithoutControlPlane takes istiod away, replaces a client, and puts istiod
// back.
func startWithoutControlPlane(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	if err := killControlPlane(ctx, a, p); err != nil {
		return err
	}
	if len(p.Clients) == 0 {
		return errors.New("no client runs")
	}
	if err := a.DeletePod(ctx, p.Clients[0]); err != nil {
		return err
	}
	if err := runner.Pause(ctx, lateStart); err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) { p.Restored = time.Now() })
	return restoreControlPlane(ctx, a)
}

// watchLateStart waits for the answer of the client that replaced another.
func watchLateStart(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	err := a.Await(ctx, runner.SteadyTimeout, "an answer of the new client", func(f *observe.Facts) string {
		added := runner.Without(f.Running(), p.Clients)
		for _, name := range added {
			if len(f.Clients[name].First) > 0 {
				p.Added = []string{name}
				return ""
			}
		}
		return fmt.Sprintf("%d new clients run", len(added))
	})
	if err != nil && ctx.Err() == nil { // that it never came is a result
		a.Note("%v", err)
		return nil
	}
	return err
}

// restoreLate makes sure that istiod is there whatever happened.
func restoreLate(ctx context.Context, a *runner.Environment) error {
	list, err := a.Kube.Typed.CoreV1().Pods("istio-system").List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(list.Items) > 0 {
		return nil
	}
	return errors.Join(err, restoreControlPlane(ctx, a))
}
