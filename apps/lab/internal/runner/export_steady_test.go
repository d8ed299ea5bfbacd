package runner

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// Of gives an environment the Deployments of its overlay.
func (env *Environment) Of(servers, clients *appsv1.Deployment) *Environment {
	env.Servers, env.Clients = servers, clients
	return env
}

func (env *Environment) Started(ctx context.Context, limit time.Duration) error {
	return env.started(ctx, limit)
}

func (env *Environment) Measure(ctx context.Context, e Experiment) error { return env.measure(ctx, e) }
