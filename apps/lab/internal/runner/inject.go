package runner

import (
	"context"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// injected returns an error unless every pod that should has got the strategy's
// sidecar.
func (a *Environment) injected(ctx context.Context) error {
	if a.Strategy.Sidecar == "" {
		return nil
	}
	if err := a.Await(ctx, SteadyTimeout, "the clients' pods", func(f *observe.Facts) string {
		for _, p := range f.Pods {
			if p.Labels[observe.NameLabel] == a.Client {
				return ""
			}
		}
		return "there is none"
	}); err != nil {
		return err
	}
	lacking := ""
	a.Record.Look(func(f *observe.Facts) {
		for _, name := range observe.Keys(f.Pods) {
			if a.Strategy.ClientsOnly && f.Pods[name].Labels[observe.NameLabel] != a.Client {
				continue
			}
			spec := f.Pods[name].Spec
			spec.Containers = slices.Concat(spec.Containers, spec.InitContainers) // a native sidecar is an init container
			if containerOf(spec, a.Strategy.Sidecar) < 0 {
				lacking = name
			}
		}
	})
	if lacking == "" {
		return nil
	}
	a.Note("pod %s got no container %s", lacking, a.Strategy.Sidecar)
	return observe.Reason{Kind: observe.Lacking, Text: a.Strategy.LacksSidecar}
}
