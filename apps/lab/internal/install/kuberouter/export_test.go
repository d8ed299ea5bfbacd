package kuberouter

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Missing tells tests when Install waits.
var Missing = missing

// Render gives tests what Install applies.
func (r *KubeRouter) Render() ([]*unstructured.Unstructured, error) { return r.render() }
