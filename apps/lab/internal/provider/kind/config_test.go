package kind_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// What a cluster is told depends on what its kubelet knows, on the host's cgroups
// and on whether the daemon sees the audit policy; every node has the image and a
// zone of its own, and carries pods.
func TestConfig(t *testing.T) {
	o := kind.Options{Name: "c", Kubeconfig: "/lab/kubeconfig", Nodes: 3, NodeImage: "example.com/node:1", APIPort: 7443}
	for _, test := range []struct {
		name, kubernetes string
		cgroupV1, local  bool
		want, not        []string
	}{
		{name: "new_on_cgroup_v1", kubernetes: "v1.37.2", cgroupV1: true, local: true,
			want: []string{"failCgroupV1: false", "imagePullCredentialsVerificationPolicy: NeverVerify", "audit-policy-file", "taints: []"}},
		{name: "new_on_cgroup_v2", kubernetes: "v1.37.2", local: true, want: []string{"NeverVerify"}, not: []string{"failCgroupV1"}},
		{name: "before_pull_verification", kubernetes: "v1.34.9", cgroupV1: true, local: true, want: []string{"failCgroupV1"}, not: []string{"NeverVerify"}},
		{name: "old", kubernetes: "v1.30.1", cgroupV1: true, local: true, want: []string{"taints: []"}, not: []string{"KubeletConfiguration"}},
		{name: "daemon_elsewhere", kubernetes: "v1.37.2", not: []string{"audit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := kind.Config(o, test.kubernetes, test.cgroupV1, test.local)
			patches := strings.Join(c.KubeadmConfigPatches, "---\n")
			for _, want := range test.want {
				if !strings.Contains(patches, want) {
					t.Errorf("no %q in\n%s", want, patches)
				}
			}
			for _, not := range test.not {
				if strings.Contains(patches, not) {
					t.Errorf("%q in\n%s", not, patches)
				}
			}
			if mounts := len(c.Nodes[0].ExtraMounts); (mounts == 1) != test.local {
				t.Errorf("%d mounts, want the policy's %v", mounts, test.local)
			}
			zone := func(name string) map[string]string {
				return map[string]string{"topology.kubernetes.io/zone": name}
			}
			c.Nodes[0].ExtraMounts = nil
			want := []v1alpha4.Node{
				{Role: v1alpha4.ControlPlaneRole, Image: o.NodeImage, Labels: zone("zone-a")},
				{Role: v1alpha4.WorkerRole, Image: o.NodeImage, Labels: zone("zone-b")},
				{Role: v1alpha4.WorkerRole, Image: o.NodeImage, Labels: zone("zone-c")},
			}
			single := o
			if single.Nodes = 1; strings.Contains(strings.Join(kind.Config(single, test.kubernetes, false, false).KubeadmConfigPatches, ""), "taints") {
				t.Error("a single node is told of taints, which kind removes itself")
			}
			if diff := cmp.Diff(want, c.Nodes); diff != "" || c.Networking.APIServerPort != 7443 {
				t.Errorf("port %d, nodes (-want +got):\n%s", c.Networking.APIServerPort, diff)
			}
		})
	}
}
