package strategy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// needs are the requests to the API of Linkerd 1's Kubernetes namer.
var needs = []string{"get", "list", "watch"}

// preflight checks what an overlay with node proxies needs of the cluster: that
// the API server takes every object, that the proxies' account may read
// endpoints, and that no pod has the nodes' ports.
func preflight(ctx context.Context, client *kube.Client, o runner.Overlay) (found *observe.Preflight, err error) {
	found = &observe.Preflight{}
	wrong := func(format string, args ...any) {
		found.Problems = append(found.Problems, fmt.Sprintf(format, args...))
	}
	account, ports, err := proxyOf(o.Strategy, o.Objects)
	if err != nil {
		return nil, err
	}
	// The objects that say who may do what, and where.
	if err := client.Apply(ctx, o.Marked("Namespace", "ServiceAccount", "Role", "RoleBinding")...); err != nil {
		return nil, err
	}
	for _, object := range o.Objects {
		if err := client.DryRun(ctx, object); err != nil {
			wrong("the API server refuses %s/%s: %v", object.GetKind(), object.GetName(), err)
			continue
		}
		found.Objects++
	}
	for _, verb := range needs {
		allowed, err := mayRead(ctx, client, o.Namespace, account, verb)
		if err != nil {
			return nil, err
		}
		if !allowed {
			wrong("service account %s may not %s endpoints", account, verb)
			continue
		}
		found.Rights++
	}
	taken, err := takenPorts(ctx, client, ports, o.Namespace)
	if err != nil {
		return nil, err
	}
	found.Problems = append(found.Problems, taken...)
	nodes, err := client.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	found.Nodes = len(nodes.Items)
	slices.Sort(found.Problems)
	return found, nil
}

// mayRead asks for the rights until they hold: the API server learns of a new
// RoleBinding a moment after it has taken it.
func mayRead(ctx context.Context, client *kube.Client, namespace, account, verb string) (bool, error) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		allowed, _, err := client.Allowed(ctx, kube.ServiceAccount(namespace, account),
			authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "endpoints"})
		if err != nil || allowed || time.Now().After(deadline) {
			return allowed, err
		}
		if err := poll.Sleep(ctx, 200*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// proxyOf returns the account of the overlay's DaemonSet and the ports that it
// takes of the nodes.
func proxyOf(s runner.Strategy, objects []*unstructured.Unstructured) (account string, ports []int32, err error) {
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" || o.GetName() != s.Proxy {
			continue
		}
		var pod struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod); err != nil {
			return "", nil, fmt.Errorf("reading daemonset %s: %w", s.Proxy, err)
		}
		return pod.Spec.Template.Spec.ServiceAccountName, hostPorts(pod.Spec.Template.Spec), nil
	}
	return "", nil, fmt.Errorf("the rendering has no DaemonSet/%s", s.Proxy)
}

func hostPorts(pod corev1.PodSpec) []int32 {
	var ports []int32
	for _, c := range slices.Concat(pod.Containers, pod.InitContainers) { // a native sidecar is an init container
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				ports = append(ports, p.HostPort)
			}
		}
	}
	return ports
}

// takenPorts names the pods of other namespaces that have one of the nodes'
// ports, or wait for it. Those that have ended have given it back.
func takenPorts(ctx context.Context, client *kube.Client, ports []int32, namespace string) ([]string, error) {
	pods, err := client.Typed.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods: %w", err)
	}
	var taken []string
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, port := range hostPorts(p.Spec) {
			if p.Namespace != namespace && slices.Contains(ports, port) {
				taken = append(taken, fmt.Sprintf("port %d of node %s is taken by pod %s/%s", port, cmp.Or(p.Spec.NodeName, "?"), p.Namespace, p.Name))
			}
		}
	}
	return taken, nil
}
