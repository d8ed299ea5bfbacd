package observe

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	// The names that base gives; an overlay that follows a strategy has its own.
	serverName = "echo-server"
	clientName = "echo-client"

	// NameLabel is the label by which the pods of a Deployment are known.
	NameLabel = "app.kubernetes.io/name"
	// ClientPath is the client in its container, wherever its image has it.
	ClientPath = "/proc/1/exe"
)

// watcher brings what a namespace's EndpointSlices, pods and logs say into a
// record.
type watcher struct {
	subject Subject
	client  kubernetes.Interface
	record  *Record

	followed map[types.UID]bool // owned by the pod watch
	readers  sync.WaitGroup     // watches, and logs being followed
}

// Watch delivers every event of the namespace's EndpointSlices and pods to the
// record, from before the overlay is applied until the context ends. It returns
// once both watches stand. Wait ends what the end of the context has stopped; it
// is to be called after an error, too.
func Watch(ctx context.Context, s Subject, client kubernetes.Interface, r *Record) (wait func(), err error) {
	w := &watcher{subject: s, client: client, record: r, followed: map[types.UID]bool{}}
	return w.readers.Wait, w.start(ctx)
}

func (w *watcher) start(ctx context.Context) error {
	slices := map[types.UID]*discoveryv1.EndpointSlice{} // of the servers; the informer calls one handler at a time
	slice := func(object any, gone bool) {
		s, ok := object.(*discoveryv1.EndpointSlice)
		if !ok || s.Labels[discoveryv1.LabelServiceName] != w.subject.Server {
			return
		}
		slices[s.UID] = s
		if gone {
			delete(slices, s.UID)
		}
		w.endpoints(time.Now(), slices)
	}
	pod := func(object any, gone bool) {
		if p, ok := object.(*corev1.Pod); ok {
			w.pod(ctx, p, gone)
		}
	}
	endpointSlices, allPods := w.client.DiscoveryV1().EndpointSlices(w.subject.Namespace), w.client.CoreV1().Pods(w.subject.Namespace)
	endpoints := informerOf(w.client, &discoveryv1.EndpointSlice{}, endpointSlices.List, endpointSlices.Watch)
	pods := informerOf(w.client, &corev1.Pod{}, allPods.List, allPods.Watch)
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
			return fmt.Errorf("watching %s: %w", w.subject.Namespace, err)
		}
	}
	for _, informer := range []cache.SharedIndexInformer{endpoints, pods} {
		w.readers.Go(func() { informer.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), endpoints.HasSynced, pods.HasSynced) {
		return fmt.Errorf("watching %s: %w", w.subject.Namespace, context.Cause(ctx))
	}
	return nil
}

// informerOf watches the objects of one kind. A factory of client-go brings along the
// informers of all kinds, which take a tenth of the lab's compilation.
func informerOf[L runtime.Object](client kubernetes.Interface, kind runtime.Object, list func(context.Context, metav1.ListOptions) (L, error),
	watchFrom func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) },
		WatchFuncWithContext: watchFrom,
	}, client), kind, 0, cache.Indexers{})
}

// endpoints records what the slices say together.
func (w *watcher) endpoints(at time.Time, slices map[types.UID]*discoveryv1.EndpointSlice) {
	event := EndpointEvent{At: at, Ready: map[string]string{}}
	for _, s := range slices {
		maps.Copy(event.Ready, readyPods(s))
	}
	w.record.Update(func(f *Facts) {
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
func (w *watcher) pod(ctx context.Context, p *corev1.Pod, gone bool) {
	w.record.Update(func(f *Facts) {
		f.Pods[p.Name] = p
		f.Nodes[p.Name] = p.Spec.NodeName
		if gone {
			delete(f.Pods, p.Name)
		}
	})
	name := p.Labels[NameLabel]
	if w.followed[p.UID] || (name != w.subject.Server && name != w.subject.Client) {
		return
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == name && (s.State.Running != nil || s.State.Terminated != nil) {
			w.followed[p.UID] = true
			w.readers.Go(func() { w.readLog(ctx, p, name) })
		}
	}
}

func (w *watcher) readLog(ctx context.Context, p *corev1.Pod, container string) {
	if container == w.subject.Server {
		server := &Server{}
		w.record.Update(func(f *Facts) { f.Servers[p.Name] = server })
		err := follow(ctx, w.client, p, container, func(line []byte) {
			w.record.Update(func(*Facts) { ingestServer(server, line) })
		})
		w.record.Update(func(*Facts) { server.Ended, server.Trouble = true, server.Trouble+trouble(err) })
		return
	}
	client := &Client{First: map[string]time.Time{}}
	w.record.Update(func(f *Facts) { f.Clients[p.Name] = client })
	err := follow(ctx, w.client, p, container, func(line []byte) {
		w.record.Update(func(*Facts) { ingestClient(client, line) })
	})
	w.record.Update(func(*Facts) { client.Ended, client.Trouble = true, client.Trouble+trouble(err) })
}
