package manifest

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// Autoscaler is a HorizontalPodAutoscaler of either version.
type Autoscaler struct {
	Object
	// Kind and Name are those of what it scales.
	Kind, Name string
	// Min is the least number of pods.
	Min int32
	// Uses are the resources whose use, in percent of the requests, it measures.
	Uses []corev1.ResourceName
}

// Autoscalers returns the HorizontalPodAutoscalers.
func Autoscalers(objects []Object) []Autoscaler {
	var all []Autoscaler
	least := func(n *int32) int32 {
		if n == nil {
			return 1 // Kubernetes' default
		}
		return *n
	}
	for _, o := range objects {
		switch h := o.(type) {
		case *autoscalingv1.HorizontalPodAutoscaler:
			a := Autoscaler{Object: o, Kind: h.Spec.ScaleTargetRef.Kind, Name: h.Spec.ScaleTargetRef.Name, Min: least(h.Spec.MinReplicas)}
			if h.Spec.TargetCPUUtilizationPercentage != nil {
				a.Uses = append(a.Uses, corev1.ResourceCPU)
			}
			all = append(all, a)
		case *autoscalingv2.HorizontalPodAutoscaler:
			a := Autoscaler{Object: o, Kind: h.Spec.ScaleTargetRef.Kind, Name: h.Spec.ScaleTargetRef.Name, Min: least(h.Spec.MinReplicas)}
			for _, m := range h.Spec.Metrics {
				if m.Resource != nil && m.Resource.Target.Type == autoscalingv2.UtilizationMetricType {
					a.Uses = append(a.Uses, m.Resource.Name)
				}
			}
			all = append(all, a)
		}
	}
	return all
}

// Scales says whether it scales the object. One that is rendered without a namespace can be
// in any.
func (a Autoscaler) Scales(o Object) bool {
	same := a.GetNamespace() == o.GetNamespace() || a.GetNamespace() == "" || o.GetNamespace() == ""
	return same && Describe(o) == a.Kind+"/"+a.Name
}
