package apiserver

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

// ServiceLabel is the label of a stand-in pod that names its Service: Kratos's
// registry selects by it.
const ServiceLabel = "kratos-service-app"

// syncPods makes the pods what the slices tell, one for each endpoint that refers to
// one, for resolvers that follow pods. There are none before the first request for
// them. The caller holds mu.
func (s *Server) syncPods() {
	if !s.withPods {
		return
	}
	now := make(map[string]*corev1.Pod)
	for _, es := range s.slices {
		for _, e := range es.Endpoints {
			if e.TargetRef != nil && len(e.Addresses) > 0 {
				now[es.Namespace+"/"+e.TargetRef.Name] = podOf(es, e)
			}
		}
	}
	for key, pod := range s.pods {
		if now[key] == nil {
			delete(s.pods, key)
			s.record("pods", watch.Deleted, pod.DeepCopy(), pod)
		}
	}
	for key, pod := range now {
		old := s.pods[key]
		if old == nil {
			s.record("pods", watch.Added, pod, nil)
		} else if pod.ResourceVersion = old.ResourceVersion; equality.Semantic.DeepEqual(pod, old) {
			continue
		} else {
			s.record("pods", watch.Modified, pod, old)
		}
		s.pods[key] = pod
	}
}

func podOf(es *discoveryv1.EndpointSlice, e discoveryv1.Endpoint) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: e.TargetRef.Name, Namespace: es.Namespace, UID: e.TargetRef.UID,
			Labels: map[string]string{ServiceLabel: es.Labels[discoveryv1.LabelServiceName]},
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "server"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: e.Addresses[0]},
	}
	for _, p := range es.Ports {
		pod.Spec.Containers[0].Ports = append(pod.Spec.Containers[0].Ports, corev1.ContainerPort{
			Name: ptr.Deref(p.Name, ""), ContainerPort: ptr.Deref(p.Port, 0), Protocol: ptr.Deref(p.Protocol, corev1.ProtocolTCP),
		})
	}
	return pod
}
