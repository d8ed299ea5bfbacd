package kind

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

const (
	policyFile = "policy.yaml"
	auditAt    = "/etc/lab-audit" // in the node
	auditDir   = "/var/log/lab"
	auditLog   = auditDir + "/audit.json"
)

// Patches of what kind tells kubeadm. They have no apiVersion, so that kind
// applies them to that of any Kubernetes.
const (
	// As on the built-in cluster every node carries pods. Of a single node kind
	// removes the taint itself, and fails where there is none.
	noTaints = `kind: InitConfiguration
nodeRegistration: {taints: []}
`
	audit = `kind: ClusterConfiguration
apiServer:
  extraArgs: {audit-policy-file: ` + auditAt + `/` + policyFile + `, audit-log-path: ` + auditLog + `}
  extraVolumes:
    - {name: audit-policy, hostPath: ` + auditAt + `, mountPath: ` + auditAt + `, readOnly: true, pathType: Directory}
    - {name: audit-log, hostPath: ` + auditDir + `, mountPath: ` + auditDir + `, pathType: DirectoryOrCreate}
`
)

// config says how kind makes the cluster. A kubelet refuses fields that it does
// not know or whose feature is off, so that they depend on its version.
func (o Options) config(kubernetes *version.Version, d daemon) *v1alpha4.Cluster {
	c := &v1alpha4.Cluster{TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"}}
	if o.Nodes > 1 {
		c.KubeadmConfigPatches = []string{noTaints}
	}
	c.Networking.APIServerPort = int32(o.APIPort)
	kubelet := []string{"kind: KubeletConfiguration"}
	if d.cgroupV1 && kubernetes.AtLeast(version.MajorMinor(1, 31)) {
		kubelet = append(kubelet, "failCgroupV1: false")
	}
	if kubernetes.AtLeast(version.MajorMinor(1, 35)) {
		// Else what was pulled under one name is pulled again under the name it
		// is loaded by.
		kubelet = append(kubelet, "imagePullCredentialsVerificationPolicy: NeverVerify")
	}
	if len(kubelet) > 1 {
		c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, strings.Join(kubelet, "\n")+"\n")
	}
	for i := range o.Nodes {
		n := v1alpha4.Node{
			Role: v1alpha4.WorkerRole, Image: o.image(),
			Labels: map[string]string{"topology.kubernetes.io/zone": fmt.Sprintf("zone-%c", 'a'+i)},
		}
		if i == 0 {
			n.Role = v1alpha4.ControlPlaneRole
			if d.local {
				n.ExtraMounts = []v1alpha4.Mount{{HostPath: o.auditDir(), ContainerPath: auditAt, Readonly: true}}
				c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, audit)
			}
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}
