package runner

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// Of gives an environment the Deployments of its overlay.
func (a *Environment) Of(servers, clients *appsv1.Deployment) *Environment {
	a.servers, a.Clients = servers, clients
	return a
}

func (a *Environment) Started(ctx context.Context, limit time.Duration) error {
	return a.started(ctx, limit)
}

func (a *Environment) Measure(ctx context.Context, e Experiment) error { return a.measure(ctx, e) }
