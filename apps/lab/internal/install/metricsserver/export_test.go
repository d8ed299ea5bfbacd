package metricsserver

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Render gives tests what Install applies.
func (m *MetricsServer) Render() ([]*unstructured.Unstructured, error) { return m.render() }
