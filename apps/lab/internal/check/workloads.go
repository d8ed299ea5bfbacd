package check

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var replicasRule = Rule{Name: "replicas", Remedy: "set replicas to 1 or more, or let a HorizontalPodAutoscaler set it", objects: checkReplicas}

// checkReplicas wants a Deployment or a StatefulSet to have pods.
func checkReplicas(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		if n := w.Replicas(); n != nil && *n == 0 {
			wrong(w.Object, "replicas: 0", "replicas is 0: it has no pod")
		}
	}
}

var autoscalerTargetRule = Rule{Name: "autoscaler-target", Remedy: "correct scaleTargetRef", objects: checkAutoscalers}

// checkAutoscalers wants a HorizontalPodAutoscaler to scale a workload that is there,
// and whose containers request what it measures.
func checkAutoscalers(r manifest.Rendering, wrong reportObject) {
	for _, h := range manifest.All[*autoscalingv2.HorizontalPodAutoscaler](r.Objects) {
		target := h.Spec.ScaleTargetRef
		w, ok := manifest.WorkloadNamed(r.Objects, target.Kind+"/"+target.Name)
		if !ok {
			wrong(h, target.Name, "it scales %s/%s, which is not rendered", target.Kind, target.Name)
			continue
		}
		for _, m := range h.Spec.Metrics {
			if m.Resource == nil || m.Resource.Target.Type != autoscalingv2.UtilizationMetricType {
				continue
			}
			for _, c := range w.Template.Spec.Containers {
				if request := c.Resources.Requests[m.Resource.Name]; request.IsZero() {
					wrong(h, "", "it scales by the use of %s, which container %s of %s/%s does not request", m.Resource.Name, c.Name, target.Kind, target.Name)
				}
			}
		}
	}
}

var resourceLimitsRule = Rule{Name: "resource-limits", Remedy: "set the limit to the request or more", objects: checkLimits}

// checkLimits wants no limit below its request: the API server refuses such a pod.
func checkLimits(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Containers() {
			for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				limit, limited := c.Resources.Limits[resource]
				if request := c.Resources.Requests[resource]; limited && limit.Cmp(request) < 0 {
					wrong(w.Object, limit.String(), "container %s: its limit of %s, %s, is below its request, %s", c.Name, resource, limit.String(), request.String())
				}
			}
		}
	}
}
