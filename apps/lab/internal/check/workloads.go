package check

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var replicasRule = Rule{Name: "replicas", Remedy: "set replicas to 1 or more, or let a HorizontalPodAutoscaler set it", objects: checkReplicas}

// checkReplicas wants a Deployment or a StatefulSet to have pods.
func checkReplicas(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		if n := w.Replicas(); n != nil && *n == 0 && metav1.GetControllerOf(w.Object) == nil {
			wrong(w.Object, "replicas: 0", "replicas is 0: it has no pod")
		}
	}
}

var autoscalerTargetRule = Rule{Name: "autoscaler-target", Remedy: "correct scaleTargetRef", objects: checkAutoscalers}

// checkAutoscalers wants a HorizontalPodAutoscaler to scale a workload that is there,
// and whose containers request what it measures.
func checkAutoscalers(r manifest.Rendering, wrong reportObject) {
	for _, a := range manifest.Autoscalers(r.Objects) {
		if !slices.ContainsFunc(r.Objects, a.Scales) {
			wrong(a.Object, a.Name, "it scales %s/%s, which is not rendered", a.Kind, a.Name)
			continue
		}
		for _, w := range manifest.Workloads(r.Objects) {
			if !a.Scales(w.Object) {
				continue
			}
			for _, resource := range a.Uses {
				for _, c := range w.Template.Spec.Containers {
					request, limit := c.Resources.Requests[resource], c.Resources.Limits[resource]
					if request.IsZero() && limit.IsZero() { // a limit is the default of the request
						wrong(a.Object, "", "it scales by the use of %s, which container %s of %s/%s does not request", resource, c.Name, a.Kind, a.Name)
					}
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
