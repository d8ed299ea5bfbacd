package runner

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// Container is one running container and what it has used.
type Container struct {
	Pod, Name, App string // app is the pod's name label
	cluster.Usage
}

// Usage reads what every running container of the namespace has used.
func (env *Environment) Usage(ctx context.Context) ([]Container, error) {
	pods := map[string]*corev1.Pod{}
	var uids []types.UID
	env.Record.Look(func(f *observe.Facts) {
		for name, p := range f.Pods {
			if p.Status.Phase == corev1.PodRunning {
				pods[name], uids = p, append(uids, p.UID)
			}
		}
	})
	used, err := env.Cluster.Usage(ctx, uids...)
	if err != nil {
		return nil, err
	}
	var all []Container
	for _, name := range observe.Keys(pods) {
		p := pods[name]
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			if u, known := used[id]; known {
				all = append(all, Container{name, s.Name, p.Labels[observe.NameLabel], u})
			}
		}
	}
	return all, nil
}
