package experiment

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

const (
	// The names that base gives; an overlay that follows a strategy has its own.
	serverName = "echo-server"
	clientName = "echo-client"
	nameLabel  = "app.kubernetes.io/name"

	// clientPath is the client in its container, wherever its image has it.
	clientPath = "/proc/1/exe"
)

// watch delivers every event of the namespace's EndpointSlices and pods to the
// record, from before the overlay is applied until the context ends. It returns
// once both watches stand.
func (a *arena) watch(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(a.client, 0, informers.WithNamespace(a.facts.Namespace))
	slices := map[types.UID]*discoveryv1.EndpointSlice{} // of the servers; the informer calls one handler at a time
	slice := func(object any, gone bool) {
		s, ok := object.(*discoveryv1.EndpointSlice)
		if !ok || s.Labels[discoveryv1.LabelServiceName] != a.facts.Server {
			return
		}
		slices[s.UID] = s
		if gone {
			delete(slices, s.UID)
		}
		a.endpoints(time.Now(), slices)
	}
	pod := func(object any, gone bool) {
		if p, ok := object.(*corev1.Pod); ok {
			a.pod(ctx, p, gone)
		}
	}
	endpoints, pods := factory.Discovery().V1().EndpointSlices().Informer(), factory.Core().V1().Pods().Informer()
	for informer, handle := range map[cache.SharedIndexInformer]func(any, bool){endpoints: slice, pods: pod} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { handle(object, false) },
			UpdateFunc: func(_, object any) { handle(object, false) },
			DeleteFunc: func(object any) {
				if missed, ok := object.(cache.DeletedFinalStateUnknown); ok {
					object = missed.Obj
				}
				handle(object, true)
			},
		}); err != nil {
			return fmt.Errorf("watching %s: %w", a.facts.Namespace, err)
		}
	}
	factory.StartWithContext(ctx)
	a.closers = append(a.closers, factory.Shutdown)
	if !cache.WaitForCacheSync(ctx.Done(), endpoints.HasSynced, pods.HasSynced) {
		return fmt.Errorf("watching %s: %w", a.facts.Namespace, context.Cause(ctx))
	}
	return nil
}

// endpoints records what the slices say together.
func (a *arena) endpoints(at time.Time, slices map[types.UID]*discoveryv1.EndpointSlice) {
	event := EndpointEvent{At: at, Ready: map[string]string{}}
	for _, s := range slices {
		maps.Copy(event.Ready, readyPods(s))
	}
	a.record.update(func(f *Facts) {
		f.Endpoints = append(f.Endpoints, event)
		for name := range event.Ready {
			if _, known := f.Ready[name]; !known {
				f.Ready[name] = at
			}
		}
	})
}

// readyPods returns the ready pods of a slice with their addresses. A pod that
// ends is not ready, though it may serve on.
func readyPods(s *discoveryv1.EndpointSlice) map[string]string {
	ready := map[string]string{}
	for _, e := range s.Endpoints {
		if e.TargetRef != nil && len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
			ready[e.TargetRef.Name] = e.Addresses[0]
		}
	}
	return ready
}

// pod follows the log of every server and client as soon as it has one, and
// keeps the last state of all pods for what waits on them.
func (a *arena) pod(ctx context.Context, p *corev1.Pod, gone bool) {
	a.record.update(func(f *Facts) {
		a.pods[p.Name] = p
		f.Nodes[p.Name] = p.Spec.NodeName
		if gone {
			delete(a.pods, p.Name)
		}
	})
	name := p.Labels[nameLabel]
	if a.followed[p.UID] || (name != a.facts.Server && name != a.facts.Client) {
		return
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == name && (s.State.Running != nil || s.State.Terminated != nil) {
			a.followed[p.UID] = true
			a.readers.Go(func() { a.readLog(ctx, p, name) })
		}
	}
}

func (a *arena) readLog(ctx context.Context, p *corev1.Pod, container string) {
	if container == a.facts.Server {
		server := &Server{}
		a.record.update(func(f *Facts) { f.Servers[p.Name] = server })
		err := follow(ctx, a.client, p, container, func(line []byte) {
			a.record.update(func(*Facts) { ingestServer(server, line) })
		})
		a.record.update(func(*Facts) { server.Ended, server.Trouble = true, server.Trouble+trouble(err) })
		return
	}
	client := &Client{First: map[string]time.Time{}}
	a.record.update(func(f *Facts) { f.Clients[p.Name] = client })
	err := follow(ctx, a.client, p, container, func(line []byte) {
		a.record.update(func(*Facts) { ingestClient(client, line) })
	})
	a.record.update(func(*Facts) { client.Ended, client.Trouble = true, client.Trouble+trouble(err) })
}
