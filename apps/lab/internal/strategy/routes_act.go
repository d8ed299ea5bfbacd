package strategy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// nextOf names the new version of the servers.
func nextOf(server string) string { return server + "-next" }

// isNext tells whether a pod is of the new version, which only the experiment starts.
func isNext(f *observe.Facts, pod string) bool {
	return f.Phases[Routes] != nil && strings.HasPrefix(pod, nextOf(f.Server)+"-")
}

// startNext starts one server of a new version with a Service of its own, and returns when
// it is ready.
func startNext(ctx context.Context, env *runner.Environment) error {
	name, one := nextOf(env.Server), int32(1)
	d := env.Servers.DeepCopy()
	d.Name, d.ResourceVersion, d.UID = name, "", ""
	delete(d.Labels, manifest.ComponentLabel)
	d.Labels[observe.NameLabel] = name
	d.Spec.Replicas = &one
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{observe.NameLabel: name}}
	d.Spec.Template.Labels[observe.NameLabel] = name
	d.Spec.Template.Spec.TopologySpreadConstraints = nil // they count the old version's pods
	service, err := env.Kube.Typed.CoreV1().Services(env.Namespace).Get(ctx, env.Server, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Service %s: %w", env.Server, err)
	}
	ports := slices.Clone(service.Spec.Ports)
	for i := range ports {
		ports[i].NodePort = 0
	}
	service.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: env.Namespace, Labels: map[string]string{observe.NameLabel: name}}
	service.Spec.Ports, service.Spec.Selector, service.Spec.ClusterIP, service.Spec.ClusterIPs = ports, d.Spec.Selector.MatchLabels, "", nil
	env.Note("start Deployment and Service %s", name)
	for kind, o := range map[string]runtime.Object{"Service": service, "Deployment": d} {
		object, err := unstructuredOf(o)
		if err != nil {
			return err
		}
		object.SetKind(kind)
		object.SetAPIVersion(map[string]string{"Service": "v1", "Deployment": "apps/v1"}[kind])
		if err := env.Kube.Apply(ctx, object); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, runner.SteadyTimeout, fmt.Errorf("not in %s", runner.SteadyTimeout))
	defer cancel()
	return env.Kube.Available(limited, env.Namespace, name)
}

// unstructuredOf returns an object as it is applied: without what only a cluster writes.
func unstructuredOf(o runtime.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	delete(content, "status")
	return &unstructured.Unstructured{Object: content}, err
}

// grpcRoute is a route to the overlay's servers.
type grpcRoute struct {
	name, namespace string
	parents         []gatewayv1.ParentReference
	rules           []gatewayv1.GRPCRouteRule
	labels          map[string]string
}

// weights are backends of a rule: Services and their shares.
type weights map[string]int32

// rule takes all calls, or those whose metadata has the value.
type rule struct {
	header string
	to     weights
}

const serverPort = 8080 // of the Services

// theRoute is the overlay's route. In a mesh there is none, and it is one whose parent is
// the servers' Service.
func theRoute(ctx context.Context, env *runner.Environment) (grpcRoute, error) {
	if !env.Strategy.Gateway {
		group, kind, port := gatewayv1.Group(""), gatewayv1.Kind("Service"), gatewayv1.PortNumber(serverPort)
		return grpcRoute{name: Routes, namespace: env.Namespace, parents: []gatewayv1.ParentReference{
			{Group: &group, Kind: &kind, Name: gatewayv1.ObjectName(env.Server), Port: &port},
		}}, nil
	}
	resource, err := env.Kube.Resource(grpcRoute{namespace: env.Namespace}.object())
	if err != nil {
		return grpcRoute{}, err
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		return grpcRoute{}, errors.Join(err, fmt.Errorf("namespace %s has %d GRPCRoutes, expected 1", env.Namespace, len(list.Items)))
	}
	route, ok := manifest.Typed(&list.Items[0]).(*gatewayv1.GRPCRoute)
	if !ok {
		return grpcRoute{}, fmt.Errorf("GRPCRoute/%s is of no known version", list.Items[0].GetName())
	}
	return grpcRoute{route.Name, route.Namespace, route.Spec.ParentRefs, route.Spec.Rules, route.Labels}, nil
}

// rival is a route for the same calls.
func (r grpcRoute) rival() grpcRoute {
	r.name = "a-" + r.name
	return r
}

func (r grpcRoute) with(rules ...rule) grpcRoute {
	r.rules = nil
	for _, one := range rules {
		var to []gatewayv1.GRPCBackendRef
		for _, service := range observe.Keys(one.to) {
			port, weight := gatewayv1.PortNumber(serverPort), one.to[service]
			to = append(to, gatewayv1.GRPCBackendRef{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(service), Port: &port}, Weight: &weight,
			}})
		}
		its := gatewayv1.GRPCRouteRule{BackendRefs: to}
		if one.header != "" {
			its.Matches = []gatewayv1.GRPCRouteMatch{{Headers: []gatewayv1.GRPCHeaderMatch{{Name: routeHeader, Value: one.header}}}}
		}
		r.rules = append(r.rules, its)
	}
	return r
}

func (r grpcRoute) object() *unstructured.Unstructured {
	o, err := unstructuredOf(&gatewayv1.GRPCRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "GRPCRoute"},
		ObjectMeta: metav1.ObjectMeta{Name: r.name, Namespace: r.namespace, Labels: r.labels},
		Spec:       gatewayv1.GRPCRouteSpec{CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: r.parents}, Rules: r.rules},
	})
	if err != nil {
		panic(err) // its type is of Kubernetes' own making
	}
	return o
}

// apply applies a route, and returns its condition ResolvedRefs once its parent has judged it
// as it is now and the proxies have had the time to get it.
func apply(ctx context.Context, env *runner.Environment, route grpcRoute) (resolved string, err error) {
	env.Note("apply GRPCRoute %s: %s", route.name, route)
	o := route.object()
	if err := env.Kube.Apply(ctx, o); err != nil {
		return "", err
	}
	resource, err := env.Kube.Resource(o)
	if err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeoutCause(ctx, runner.ProbeTimeout, fmt.Errorf("not in %s", runner.ProbeTimeout))
	defer cancel()
	if err := poll.Until(limited, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		now, err := resource.Get(ctx, route.name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		typed, ok := manifest.Typed(now).(*gatewayv1.GRPCRoute)
		if !ok || len(typed.Status.Parents) == 0 {
			return "no parent has judged it", nil
		}
		conditions := typed.Status.Parents[0].Conditions
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			i := slices.IndexFunc(conditions, func(c metav1.Condition) bool {
				return c.Type == string(kind) && c.ObservedGeneration == typed.Generation
			})
			switch {
			case i < 0:
				return string(kind) + " is not known", nil
			case kind == gatewayv1.RouteConditionResolvedRefs:
				resolved = fmt.Sprintf("%s (%s)", conditions[i].Status, conditions[i].Reason)
			case conditions[i].Status != metav1.ConditionTrue:
				return fmt.Sprintf("%s is %s (%s)", kind, conditions[i].Status, conditions[i].Message), nil
			}
		}
		return "", nil
	}); err != nil {
		return "", fmt.Errorf("waiting for GRPCRoute/%s: %w", route.name, err)
	}
	return resolved, poll.Sleep(ctx, pushed)
}

// String says where the route leads.
func (r grpcRoute) String() string {
	var rules []string
	for _, its := range r.rules {
		var to []string
		for _, b := range its.BackendRefs {
			to = append(to, fmt.Sprintf("%s (%d)", b.Name, *b.Weight))
		}
		text := "calls to " + strings.Join(to, " and ")
		if len(its.Matches) > 0 {
			text = "calls with " + routeHeader + " to " + strings.Join(to, " and ")
		}
		rules = append(rules, text)
	}
	return strings.Join(rules, ", ")
}

// callRouted lets a client of the overlay make calls, and counts who answered.
func callRouted(ctx context.Context, env *runner.Environment, seen *Routed, name string, calls, rate int, args ...string) (Share, runner.ClientResult, error) {
	ran, err := env.RunClient(ctx, runner.ClientJob{
		Name: Routes + "-" + name, Limit: runner.SteadyTimeout + time.Duration(calls/rate)*time.Second, MayFail: true,
		Args: slices.Concat(env.Clients.Spec.Template.Spec.Containers[0].Args, []string{
			fmt.Sprintf("--count=%d", calls), fmt.Sprintf("--rate=%d", rate), "--timeout=" + routeTimeout.String(),
		}, args),
	})
	if err != nil {
		return Share{}, ran, err
	}
	s := Share{Failed: distribution.Counts(ran.Summary.Failures).Total()}
	for server, n := range ran.Summary.Servers {
		if strings.HasPrefix(server, nextOf(env.Server)+"-") {
			s.New += n
		} else {
			s.Old += n
		}
	}
	env.Record.Update(func(*observe.Facts) { seen.all = append(seen.all, ran.Summary) })
	return s, ran, nil
}

func share(s Share) (p float64, plausible bool) {
	return distribution.TestShare(s.New, s.all(), newShare)
}

// undoRoutes takes back what the experiment made, and gives the Gateway its own route.
func undoRoutes(ctx context.Context, env *runner.Environment) error {
	var route *grpcRoute
	env.Record.Look(func(f *observe.Facts) {
		if seen := observe.EvidenceOf[*Routed](f, Routes); seen != nil {
			route = seen.route
		}
	})
	if route == nil {
		return nil
	}
	var err error
	gone := []*unstructured.Unstructured{route.rival().object()}
	if env.Strategy.Gateway {
		err = env.Kube.Apply(ctx, route.object())
	} else {
		gone = append(gone, route.object())
	}
	for kind, version := range map[string]string{"Service": "v1", "Deployment": "apps/v1"} {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion(version)
		o.SetKind(kind)
		o.SetNamespace(env.Namespace)
		o.SetName(nextOf(env.Server))
		gone = append(gone, o)
	}
	return errors.Join(err, env.Kube.Delete(ctx, gone...))
}
