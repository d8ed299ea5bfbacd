package kind_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// A cluster is ready once every node is and every system pod on them; until then
// the first reason is told, a crash before what follows from it.
func TestUnready(t *testing.T) {
	node := func(name string, ready corev1.ConditionStatus, message string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: ready, Message: message},
		}}}
	}
	set := func(desired, ready int32) appsv1.DaemonSet {
		return appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, NumberReady: ready}}
	}
	deployment := func(replicas, available int32) appsv1.Deployment {
		return appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "coredns"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}, Status: appsv1.DeploymentStatus{AvailableReplicas: available}}
	}
	waiting := func(reason string, restarts int32) []corev1.Pod {
		return []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "kindnet-x"}, Spec: corev1.PodSpec{NodeName: "a"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "cni", RestartCount: restarts, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off\n5m"}}},
		}}}}
	}
	up := []corev1.Node{node("a", corev1.ConditionTrue, ""), node("b", corev1.ConditionTrue, "")}
	noCNI := []corev1.Node{up[0], node("b", corev1.ConditionFalse, "cni plugin not initialized")}
	for _, test := range []struct {
		name        string
		nodes       []corev1.Node
		sets        []appsv1.DaemonSet
		deployments []appsv1.Deployment
		pods        []corev1.Pod
		want        string
		crashed     bool
	}{
		{name: "ready", nodes: up, sets: []appsv1.DaemonSet{set(2, 2)}, deployments: []appsv1.Deployment{deployment(2, 2)}, pods: waiting("ContainerCreating", 0)},
		{name: "node_missing", nodes: up[:1], want: "1 of 2 nodes are there"},
		{name: "node_silent", nodes: []corev1.Node{up[0], {ObjectMeta: metav1.ObjectMeta{Name: "b"}}}, want: "node b is not ready: its kubelet has not said so yet"},
		{name: "node_not_ready", nodes: noCNI, want: "node b is not ready: cni plugin not initialized"},
		{name: "crash_first", nodes: noCNI, pods: waiting("CrashLoopBackOff", 3), want: "pod kindnet-x on a: container cni: CrashLoopBackOff: back-off 5m", crashed: true},
		{name: "image_missing", nodes: up, pods: waiting("ErrImageNeverPull", 0), want: "pod kindnet-x on a: container cni: ErrImageNeverPull: back-off 5m"},
		{name: "nothing_runs_yet", nodes: up, want: "kube-system has no pods yet"},
		{name: "set_not_scheduled", nodes: up, sets: []appsv1.DaemonSet{set(1, 1)}, want: "1 of 2 pods of kube-proxy are ready"},
		{name: "set_not_ready", nodes: up, sets: []appsv1.DaemonSet{set(2, 1)}, want: "1 of 2 pods of kube-proxy are ready"},
		{name: "no_dns", nodes: up, sets: []appsv1.DaemonSet{set(2, 2)}, deployments: []appsv1.Deployment{deployment(2, 1)}, want: "1 of 2 pods of coredns are available"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, crashed := kind.Unready(2, test.nodes, test.sets, test.deployments, test.pods)
			if got != test.want || (crashed != nil) != test.crashed {
				t.Errorf("unready %q, crashed %v, want %q, %v", got, crashed, test.want, test.crashed)
			}
		})
	}
}
