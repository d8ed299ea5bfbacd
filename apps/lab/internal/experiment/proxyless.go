package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// lateStart is how long a client tries to start without a control plane.
const lateStart = 8 * time.Second

// listProcesses notes what runs in the clients' and the servers' pods.
func listProcesses(ctx context.Context, a *arena, _ *Phase) error {
	used, err := a.usage(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		a.record.update(func(f *Facts) {
			f.ProcessesUnknown = "the processes of this cluster's pods are out of reach"
			f.outOfReach(f.ProcessesUnknown)
		})
		return nil
	}
	if err != nil {
		return err
	}
	a.record.update(func(f *Facts) {
		f.Processes = map[string][]string{}
		for _, c := range used {
			f.Processes[c.pod] = append(f.Processes[c.pod], c.Commands...)
		}
	})
	return nil
}

// container is one running container and what it has used.
type container struct {
	pod, name, app string // app is the pod's name label
	cluster.Usage
}

// usage reads what every running container of the namespace has used.
func (a *arena) usage(ctx context.Context) ([]container, error) {
	pods := map[string]*corev1.Pod{}
	var uids []types.UID
	a.record.look(func(*Facts) {
		for name, p := range a.pods {
			if p.Status.Phase == corev1.PodRunning {
				pods[name], uids = p, append(uids, p.UID)
			}
		}
	})
	used, err := a.cluster.Usage(ctx, uids...)
	if err != nil {
		return nil, err
	}
	var all []container
	for _, name := range keys(pods) {
		p := pods[name]
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			if u, known := used[id]; known {
				all = append(all, container{name, s.Name, p.Labels[nameLabel], u})
			}
		}
	}
	return all, nil
}

// startWithoutControlPlane takes istiod away, replaces a client, and puts istiod
// back.
func startWithoutControlPlane(ctx context.Context, a *arena, p *Phase) error {
	if err := killControlPlane(ctx, a, p); err != nil {
		return err
	}
	if len(p.Clients) == 0 {
		return errors.New("no client runs")
	}
	if err := a.deletePod(ctx, p.Clients[0]); err != nil {
		return err
	}
	if err := pause(ctx, lateStart); err != nil {
		return err
	}
	a.record.update(func(*Facts) { p.Restored = time.Now() })
	return restoreControlPlane(ctx, a)
}

// watchLateStart waits for the answer of the client that replaced another.
func watchLateStart(ctx context.Context, a *arena, p *Phase) error {
	err := a.await(ctx, steadyTimeout, "an answer of the new client", func(f *Facts) string {
		added := without(f.running(), p.Clients)
		for _, name := range added {
			if len(f.Clients[name].First) > 0 {
				p.Added = []string{name}
				return ""
			}
		}
		return fmt.Sprintf("%d new clients run", len(added))
	})
	if err != nil && ctx.Err() == nil { // that it never came is a result
		a.note("%v", err)
		return nil
	}
	return err
}

// restoreLate makes sure that istiod is there whatever happened.
func restoreLate(ctx context.Context, a *arena) error {
	list, err := a.client.CoreV1().Pods("istio-system").List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(list.Items) > 0 {
		return nil
	}
	return errors.Join(err, restoreControlPlane(ctx, a))
}
