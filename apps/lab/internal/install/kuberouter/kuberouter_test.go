package kuberouter_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/kuberouter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kube-router runs on every node in the node's network, with the image that the lab packs,
// and may only read.
func TestRender(t *testing.T) {
	objects, err := (&kuberouter.KubeRouter{Version: "v9.8.7"}).Render()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects {
		kinds[o.GetKind()]++
		switch o.GetKind() {
		case "DaemonSet":
			var d appsv1.DaemonSet
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
				t.Fatal(err)
			}
			pod := d.Spec.Template.Spec
			if c := pod.Containers[0]; c.Image != "lab.local/kube-router:v9.8.7" || c.ImagePullPolicy != "Never" {
				t.Errorf("image %s is pulled %s, want lab.local/kube-router:v9.8.7, Never", c.Image, c.ImagePullPolicy)
			}
			if !pod.HostNetwork || len(pod.Tolerations) != 1 || pod.Tolerations[0].Key != "" || pod.Tolerations[0].Operator != "Exists" {
				t.Errorf("host network %t, tolerations %v: want every node's network", pod.HostNetwork, pod.Tolerations)
			}
		case "ClusterRole":
			var role rbacv1.ClusterRole
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
				t.Fatal(err)
			}
			for _, rule := range role.Rules {
				if diff := cmp.Diff([]string{"get", "list", "watch"}, rule.Verbs); diff != "" {
					t.Errorf("verbs on %v (-want +got):\n%s", rule.Resources, diff)
				}
			}
		}
	}
	want := map[string]int{"ClusterRole": 1, "ClusterRoleBinding": 1, "DaemonSet": 1, "ServiceAccount": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// It is installed once every node of the newest generation keeps its pod, and not while
// nobody has counted the nodes.
func TestMissing(t *testing.T) {
	for _, test := range []struct {
		name   string
		status appsv1.DaemonSetStatus
		want   string
	}{
		{"not_counted", appsv1.DaemonSetStatus{}, "it runs on 0 of 0 nodes"},
		{"none_counted", appsv1.DaemonSetStatus{ObservedGeneration: 2}, "it runs on 0 of 0 nodes"},
		{"one_of_two", appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 2, NumberAvailable: 1}, "it runs on 1 of 2 nodes"},
		{"old", appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 2, NumberAvailable: 2}, "it runs on 2 of 2 nodes"},
		{"ready", appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 2, NumberAvailable: 2}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := kuberouter.Missing(&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: test.status}); got != test.want {
				t.Errorf("missing %q, want %q", got, test.want)
			}
		})
	}
}
