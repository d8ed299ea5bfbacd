package gatewayapi

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Definitions are what Install applies.
func (g *GatewayAPI) Definitions() ([]*unstructured.Unstructured, error) { return g.definitions() }
