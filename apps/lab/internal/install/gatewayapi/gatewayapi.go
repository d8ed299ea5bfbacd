// Package gatewayapi puts the definitions of the Gateway API onto a cluster of the lab,
// offline: those of the standard channel. What serves them is another matter: Istio does.
package gatewayapi

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// API is what the definitions make the API server serve.
const API = "gateway.networking.k8s.io/v1"

// Lacks says that a cluster does not have the definitions, and what to do.
const Lacks = "the Gateway API is not installed: apply standard-install.yaml of a release of kubernetes-sigs/gateway-api, and run an implementation of it, such as Istio"

const readyTime = time.Minute

var kinds = []string{"Gateway", "GRPCRoute"} // that the lab uses

// GatewayAPI is one release of the definitions.
type GatewayAPI struct {
	// Dir holds the component's files.
	Dir, Version string
}

func (*GatewayAPI) String() string { return "the Gateway API" }

// Describe says what Install installs.
func (g *GatewayAPI) Describe() (string, error) {
	return "the Gateway API " + g.Version + ", standard channel", nil
}

// Installed tells whether the cluster serves the Gateway API, whoever installed it.
func (*GatewayAPI) Installed(_ context.Context, k *kube.Client) (bool, error) { return Served(k) }

// Served tells whether the cluster serves Gateways and GRPCRoutes.
func Served(k *kube.Client) (bool, error) { return k.Serves(API, kinds...) }

// Install applies the definitions and returns when the API server serves them.
func (g *GatewayAPI) Install(ctx context.Context, k *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not served in %s", readyTime))
	defer cancel()
	objects, err := g.definitions()
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, objects...); err != nil {
		return fmt.Errorf("gatewayapi: %w", err)
	}
	if err := k.AwaitServed(ctx, API, kinds...); err != nil {
		return fmt.Errorf("gatewayapi: %w", err)
	}
	return nil
}

// Remove deletes the definitions, and with them every object of their kinds.
func (g *GatewayAPI) Remove(ctx context.Context, k *kube.Client) error {
	objects, err := g.definitions()
	if err != nil {
		return err
	}
	return k.Delete(ctx, objects...)
}

func (g *GatewayAPI) definitions() (all []*unstructured.Unstructured, err error) {
	for _, name := range slices.Sorted(maps.Keys(component.GatewayAPI.Files)) {
		content, err := os.ReadFile(filepath.Join(g.Dir, name))
		if err != nil {
			return nil, fmt.Errorf("gatewayapi: %w", err)
		}
		objects, err := manifest.Unstructured(content)
		if err != nil {
			return nil, fmt.Errorf("gatewayapi: %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}
