package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/gatewayapi"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// serveGateways installs the definitions of the Gateway API where the cluster does not
// serve it, before Istio, which serves what is defined when it starts at once.
func (m *measurement) serveGateways(ctx context.Context, client *kube.Client) error {
	if installed, err := m.use(ctx, client, m.in.shared.gateways); err != nil || installed {
		return err
	}
	served, err := gatewayapi.Served(client)
	if err == nil && !served {
		err = observe.Reason{Kind: observe.Lacking, Text: gatewayapi.Lacks}
	}
	return err
}

// programmed waits until the proxy of every Gateway of the overlay has its configuration.
// A class that nobody serves is something that the cluster lacks.
func (env *Environment) programmed(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		if o.GetKind() != "Gateway" {
			continue
		}
		class, _, _ := unstructured.NestedString(o.Object, "spec", "gatewayClassName")
		resource, err := env.Kube.Resource(o)
		if err != nil {
			return err
		}
		taken := false // by an implementation
		limited, cancel := context.WithTimeoutCause(ctx, SteadyTimeout, fmt.Errorf("not in %s", Seconds(SteadyTimeout)))
		err = poll.Until(limited, 200*time.Millisecond, func(ctx context.Context) (string, error) {
			now, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			taken = taken || conditionOf(now, "Accepted") != "Unknown"
			if programmed := conditionOf(now, "Programmed"); programmed != "True" {
				return "its condition Programmed is " + programmed, nil
			}
			return "", nil
		})
		cancel()
		switch {
		case err == nil:
			env.Note("Gateway %s of class %s is programmed", o.GetName(), class)
		case !taken && ctx.Err() == nil:
			return observe.Reason{Kind: observe.Lacking, Text: fmt.Sprintf("no implementation of the Gateway API serves the class %s of Gateway/%s: install one, or change its gatewayClassName", class, o.GetName())}
		default:
			return fmt.Errorf("waiting for Gateway/%s: %w%s", o.GetName(), err, env.diagnosis(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// conditionOf returns the status of a condition that is about the object as it is now, and
// why it is not true: "False (ListenersNotValid: …)". One that is not there is Unknown.
func conditionOf(o *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	i := slices.IndexFunc(conditions, func(c any) bool {
		fields, _ := c.(map[string]any)
		return fields["type"] == kind
	})
	if i < 0 {
		return string(metav1.ConditionUnknown)
	}
	fields, _ := conditions[i].(map[string]any)
	text := func(name string) string { value, _, _ := unstructured.NestedString(fields, name); return value }
	observed, _, _ := unstructured.NestedInt64(fields, "observedGeneration")
	if status := text("status"); status == string(metav1.ConditionTrue) && observed == o.GetGeneration() || status == string(metav1.ConditionUnknown) {
		return status
	}
	return fmt.Sprintf("%s (%s: %s)", text("status"), text("reason"), text("message"))
}
