package runner

import (
	"context"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// injected returns an error unless every pod that should has got the strategy's
// sidecar.
func (env *Environment) injected(ctx context.Context) error {
	if !env.Strategy.Injected() {
		return nil
	}
	if err := env.Await(ctx, SteadyTimeout, "the clients' pods", func(f *observe.Facts) string {
		for _, p := range f.Pods {
			if p.Labels[observe.NameLabel] == env.Client {
				return ""
			}
		}
		return "there is none"
	}); err != nil {
		return err
	}
	lacking := ""
	env.Record.Look(func(f *observe.Facts) {
		for _, name := range observe.Keys(f.Pods) {
			if env.Strategy.Sidecar.ClientsOnly && f.Pods[name].Labels[observe.NameLabel] != env.Client {
				continue
			}
			spec := f.Pods[name].Spec
			spec.Containers = slices.Concat(spec.Containers, spec.InitContainers) // a native sidecar is an init container
			if containerOf(spec, env.Strategy.Sidecar.Container) < 0 {
				lacking = name
			}
		}
	})
	if lacking == "" {
		return nil
	}
	env.Note("pod %s got no container %s", lacking, env.Strategy.Sidecar.Container)
	return observe.Reason{Kind: observe.Lacking, Text: env.Strategy.Sidecar.Lacks}
}
