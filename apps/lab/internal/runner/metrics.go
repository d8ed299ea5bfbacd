package runner

import (
	"context"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/metricsserver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// serveMetrics installs what serves metrics.k8s.io where the cluster has nothing that
// does, and says why that could not be had.
func (m *measurement) serveMetrics(ctx context.Context, client *kube.Client) observe.Reason {
	installed, err := m.in.shared.metrics.join(ctx, client, m.env.Note)
	if installed != "" && !slices.Contains(m.installed, installed) {
		m.installed = append(m.installed, installed)
	}
	if err == nil && installed == "" {
		var served bool
		if served, err = metricsserver.Served(client); err == nil && !served {
			err = observe.Reason{Kind: observe.OutOfReach, Text: "this cluster has no metrics-server: nothing serves " + metricsserver.API}
		}
	}
	if err == nil {
		return observe.Reason{}
	}
	m.leaveMetrics(ctx, client)
	return reasonOf(err)
}

// leaveMetrics says that the strategy reads metrics.k8s.io no more.
func (m *measurement) leaveMetrics(ctx context.Context, client *kube.Client) {
	if m.in.Keep {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	m.in.shared.metrics.leave(ctx, client, m.env.Note)
}
