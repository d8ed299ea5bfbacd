package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/pager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/coredns"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// pageSize is how many objects one answer of the API server has.
const pageSize = 500

// Snapshot is what was read.
type Snapshot struct {
	objects   []manifest.Object
	groups    map[groupKey]*group
	endpoints map[string]*Endpoints // by namespace/service
	ttl       string                // of the cluster's DNS names, or "" if it cannot be read
	// reflecting are ports at which Probe found gRPC.
	reflecting []balance.Backend
	// NotSeen says what may not be read, or is not served.
	NotSeen []string
}

// Endpoints are those of one Service, of all its EndpointSlices.
type Endpoints struct {
	// Ready and All count pods, each once.
	Ready, All int
	ready      []string // addresses
	seen       map[string]bool
}

// groupKey names what makes pods.
type groupKey struct{ namespace, kind, name string }

// group is the pods of one owner. Only the newest is kept whole: the others are like
// it, and a cluster can have many.
type group struct {
	newest  *corev1.Pod
	names   []string // of running pods
	proxied int      // pods with a mesh's proxy
}

// customs are the custom resources that say something about calls.
var customs = []schema.GroupVersionResource{
	{Group: gatewayv1.GroupName, Version: "v1", Resource: "gateways"},
	{Group: gatewayv1.GroupName, Version: "v1", Resource: "grpcroutes"},
	{Group: gatewayv1.GroupName, Version: "v1", Resource: "httproutes"},
	{Group: gatewayv1.GroupName, Version: "v1beta1", Resource: "referencegrants"}, // which every release of the Gateway API serves
	{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"},
}

// Read reads the namespaces, or all of them without a name.
func Read(ctx context.Context, client kubernetes.Interface, custom dynamic.Interface, namespaces ...string) (*Snapshot, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	s := &Snapshot{groups: map[groupKey]*group{}, endpoints: map[string]*Endpoints{}}
	for _, ns := range namespaces {
		lists := []list{
			{"services", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.CoreV1().Services(ns).List(ctx, o)
			}, s.keep},
			{"endpointslices", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.DiscoveryV1().EndpointSlices(ns).List(ctx, o)
			}, s.addSlice},
			{"pods", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.CoreV1().Pods(ns).List(ctx, o)
			}, s.addPod},
			{"poddisruptionbudgets", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.PolicyV1().PodDisruptionBudgets(ns).List(ctx, o)
			}, s.keep},
			{"horizontalpodautoscalers", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.AutoscalingV2().HorizontalPodAutoscalers(ns).List(ctx, o)
			}, s.keep},
			{"networkpolicies", func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.NetworkingV1().NetworkPolicies(ns).List(ctx, o)
			}, s.keep},
		}
		for _, kind := range customs {
			lists = append(lists, list{kind.GroupResource().String(), func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				found, err := custom.Resource(kind).Namespace(ns).List(ctx, o)
				if apierrors.IsNotFound(err) { // the cluster has no such kind
					return &unstructured.UnstructuredList{}, nil
				}
				return found, err
			}, s.keepCustom})
		}
		for _, l := range lists {
			p := pager.New(l.page)
			p.PageSize = pageSize
			err := p.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error { l.each(o); return nil })
			if err := s.missed("list "+l.what+where(ns), err); err != nil {
				return nil, err
			}
		}
	}
	s.addWorkloads()
	if ttl, _, known := coredns.Read(ctx, client); known {
		s.ttl = ttl.String()
	}
	return s, s.addReferred(ctx, client)
}

// list is how to read the objects of one kind.
type list struct {
	what string
	page pager.ListPageFunc
	each func(runtime.Object)
}

func where(namespace string) string {
	if namespace == "" {
		return " in all namespaces"
	}
	return " in namespace " + namespace
}

// missed notes what is forbidden or not served. Any other error is returned.
func (s *Snapshot) missed(what string, err error) error {
	if err == nil {
		return nil
	}
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		s.NotSeen = append(s.NotSeen, fmt.Sprintf("%s: %s", what, strings.ToLower(string(apierrors.ReasonForError(err)))))
		return nil
	}
	return fmt.Errorf("inspect: %s: %w", what, err)
}

// keep stores an object with its kind, which typed lists leave out.
func (s *Snapshot) keep(o runtime.Object) {
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	object, ok := o.(manifest.Object)
	if err != nil || !ok {
		return
	}
	object.GetObjectKind().SetGroupVersionKind(kinds[0])
	switch t := o.(type) { // what is not judged is not kept
	case *corev1.Service:
		t.ManagedFields = nil
	case *policyv1.PodDisruptionBudget:
		t.ManagedFields = nil
	case *autoscalingv2.HorizontalPodAutoscaler:
		t.ManagedFields = nil
	case *networkingv1.NetworkPolicy:
		t.ManagedFields = nil
	}
	s.objects = append(s.objects, object)
}

func (s *Snapshot) keepCustom(o runtime.Object) {
	if object, ok := o.(*unstructured.Unstructured); ok {
		object.SetManagedFields(nil)
		s.objects = append(s.objects, manifest.Typed(object))
	}
}

func (s *Snapshot) addSlice(o runtime.Object) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	key := slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]
	e := s.endpoints[key]
	if e == nil {
		e = &Endpoints{seen: map[string]bool{}}
		s.endpoints[key] = e
	}
	for _, p := range slice.Endpoints {
		if len(p.Addresses) == 0 {
			continue
		}
		pod := p.Addresses[0]
		if p.TargetRef != nil {
			pod = string(p.TargetRef.UID) // a pod of two families is in two slices
		}
		ready := p.Conditions.Ready == nil || *p.Conditions.Ready
		if ready {
			e.ready = append(e.ready, p.Addresses[0])
		}
		if !e.seen[pod] {
			e.seen[pod] = true
			e.All++
			if ready {
				e.Ready++
			}
		}
	}
}

func (s *Snapshot) addPod(o runtime.Object) {
	p, ok := o.(*corev1.Pod)
	if !ok || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return
	}
	key := ownerOf(p)
	g := s.groups[key]
	if g == nil {
		g = &group{}
		s.groups[key] = g
	}
	if g.newest == nil || g.newest.CreationTimestamp.Before(&p.CreationTimestamp) {
		p.ManagedFields = nil
		g.newest = p
	}
	g.names = append(g.names, p.Name)
	if hasProxy(p) {
		g.proxied++
	}
}

func hasProxy(p *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool { return balance.IsMeshProxy(c.Name) })
}

// ownerOf returns what makes the pod. A ReplicaSet of a Deployment has its name and a
// hash that the pod has as a label.
func ownerOf(p *corev1.Pod) groupKey {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return groupKey{p.Namespace, "Pod", p.Name}
	}
	if hash := p.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; owner.Kind == "ReplicaSet" && hash != "" && strings.HasSuffix(owner.Name, "-"+hash) {
		return groupKey{p.Namespace, "Deployment", strings.TrimSuffix(owner.Name, "-"+hash)}
	}
	return groupKey{p.Namespace, owner.Kind, owner.Name}
}

// addWorkloads makes one workload of each group, with the newest pod as its template.
func (s *Snapshot) addWorkloads() {
	keys := slices.SortedFunc(maps.Keys(s.groups), func(a, b groupKey) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name), strings.Compare(a.kind, b.kind))
	})
	for _, key := range keys {
		g := s.groups[key]
		replicas := int32(min(len(g.names), 1<<30))
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: key.name, Namespace: key.namespace},
			Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: g.newest.Labels, Annotations: g.newest.Annotations}, Spec: g.newest.Spec,
			}},
		}
		d.SetGroupVersionKind(schema.GroupVersionKind{Kind: key.kind})
		s.objects = append(s.objects, d)
	}
}

// addReferred reads the Namespaces and the ConfigMaps that pods refer to.
func (s *Snapshot) addReferred(ctx context.Context, client kubernetes.Interface) error {
	spaces, maps := map[string]bool{}, map[[2]string]bool{}
	for _, w := range manifest.Workloads(s.objects) {
		spaces[w.GetNamespace()] = true
		want := func(name string) {
			if name != "" && name != "kube-root-ca.crt" && name != "istio-ca-root-cert" {
				maps[[2]string{w.GetNamespace(), name}] = true
			}
		}
		for _, v := range w.Template.Spec.Volumes {
			if v.ConfigMap != nil {
				want(v.ConfigMap.Name)
			}
			if v.Projected != nil {
				for _, source := range v.Projected.Sources {
					if source.ConfigMap != nil {
						want(source.ConfigMap.Name)
					}
				}
			}
		}
		for _, c := range w.Template.Spec.Containers {
			for _, from := range c.EnvFrom {
				if from.ConfigMapRef != nil {
					want(from.ConfigMapRef.Name)
				}
			}
			for _, env := range c.Env {
				if env.ValueFrom != nil && env.ValueFrom.ConfigMapKeyRef != nil {
					want(env.ValueFrom.ConfigMapKeyRef.Name)
				}
			}
		}
	}
	var errs []error
	read := func(what string, get func() (runtime.Object, error)) {
		o, err := get()
		if err == nil {
			s.keep(o)
		}
		errs = append(errs, s.missed("get "+what, err))
	}
	for name := range spaces {
		read("namespace "+name, func() (runtime.Object, error) {
			return client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		})
	}
	for ref := range maps {
		read("configmap "+ref[1]+" in namespace "+ref[0], func() (runtime.Object, error) {
			return client.CoreV1().ConfigMaps(ref[0]).Get(ctx, ref[1], metav1.GetOptions{})
		})
	}
	slices.Sort(s.NotSeen)
	return errors.Join(errs...)
}
