//go:build linux

package builtin

import (
	"bytes"
	"embed"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

// DNSTTL and DNSCache are how long, in seconds, a client and CoreDNS may keep
// an answer: together the longest that DNS trails the EndpointSlices.
const (
	DNSTTL   = 5
	DNSCache = 5
)

const (
	repository = "lab.local"
	logDir     = "/var/log/lab"
	adminConf  = "/etc/kubernetes/admin.conf"

	kubeletConf = "/etc/kubernetes/kubelet.conf"

	// The parent makes these when a node may go on.
	imagesLoaded = "/run/lab/images-loaded"
	joinConf     = "/run/lab/admin.conf"
	// kubeadm's success, which kube-proxy waits for.
	kubeadmDone = "/run/lab/kubeadm-done"

	containerdSock = "/run/containerd/containerd.sock"
	kubeletConfig  = "/var/lib/kubelet/config.yaml"
)

// sysctls are settings of a node's network.
var sysctls = map[string]string{"ipv4/ip_forward": "1"}

// shadowed are settings that the kubelet changes, and it ends where it cannot.
var shadowed = []string{
	"kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys",
	"vm/overcommit_memory", "vm/panic_on_oom",
}

//go:embed *.yaml containerd.toml cni.conflist
var files embed.FS

// params fill the embedded files.
type params struct {
	Name, IP, PodNet          string
	ServiceNet, DNSIP         string
	Repository, LogDir        string
	TTL, Cache                int
	Kubernetes, Etcd, CoreDNS string
	StaticPod                 string
	patience                  float64
}

// Times stretches a number of seconds to what this machine may need.
func (p params) Times(seconds int) int { return int(math.Ceil(float64(seconds) * p.patience)) }

func fill(file string, p params) (string, error) {
	t, err := template.ParseFS(files, file)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = t.Option("missingkey=error").Execute(&out, p)
	return out.String(), err
}

func newParams(i int, patience float64, versions map[string]string) params {
	return params{
		Name: nodeName(i), IP: nodeIP(i), PodNet: podNet(i),
		ServiceNet: serviceNet, DNSIP: dnsIP,
		Repository: repository, LogDir: logDir,
		TTL: DNSTTL, Cache: DNSCache,
		Kubernetes: versions[component.Kubernetes.Name],
		Etcd:       versions[component.Etcd.Name],
		CoreDNS:    versions[component.CoreDNS.Name],
		patience:   patience,
	}
}

// nodeSpec says what node i of nodes is; the first carries the control plane.
func nodeSpec(o Options, i int, programs, versions map[string]string) (node.Spec, error) {
	p := newParams(i, o.Patience, versions)
	spec := node.Spec{
		Name:  p.Name,
		Dir:   o.Dirs.node(p.Name),
		Binds: map[string]string{logDir: o.Dirs.logs(p.Name)},
		Data:  []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd"},
		Empty: []string{"/etc/kubernetes", "/etc/cni/net.d", "/etc/containerd", "/var/log/pods", "/var/log/containers"},
		Files: map[string]string{
			// The machine's resolver is out of reach; each look-up would wait for it.
			"/etc/resolv.conf": "",
			"/etc/hostname":    p.Name + "\n",
			"/etc/hosts":       "127.0.0.1 localhost\n" + hosts(o.Nodes),
		},
		Sysctls: sysctls, Shadowed: shadowed,
		LogDir: logDir,
	}
	for name, dir := range programs {
		spec.Binds["/opt/lab/"+name] = dir
		spec.Path += "/opt/lab/" + name + ":"
	}
	spec.Path += "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	configs := map[string]string{
		"containerd.toml": "/etc/containerd/config.toml",
		"cni.conflist":    "/etc/cni/net.d/10-lab.conflist",
		"kubeadm.yaml":    "/etc/lab/kubeadm.yaml",
	}
	kubeadm := node.Process{
		Name: "kubeadm", Once: true, Done: kubeadmDone,
		Args:  []string{"kubeadm", "init", "--config=/etc/lab/kubeadm.yaml"},
		After: []string{containerdSock, imagesLoaded},
	}
	proxyConf := adminConf
	add := func(file, path string) error {
		content, err := fill(file, p)
		if err != nil {
			return fmt.Errorf("builtin: %s: %w", file, err)
		}
		spec.Files[path] = content
		return nil
	}
	if i == 0 {
		spec.Forward = p.IP + ":6443"
		spec.Files["/etc/lab/audit-policy.yaml"] = cluster.AuditPolicy
		for _, p.StaticPod = range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			if err := add("static-pod.yaml", "/etc/lab/patches/"+p.StaticPod+".yaml"); err != nil {
				return spec, err
			}
		}
	} else {
		delete(configs, "kubeadm.yaml")
		configs["join.yaml"] = "/etc/lab/kubeadm.yaml"
		kubeadm.Args[1] = "join"
		kubeadm.After = append(kubeadm.After, joinConf)
		proxyConf = joinConf
	}
	for file, path := range configs {
		if err := add(file, path); err != nil {
			return spec, err
		}
	}
	spec.Processes = []node.Process{
		{Name: "containerd", Args: []string{"containerd"}},
		kubeadm,
		{
			Name: "kubelet",
			Args: []string{
				"kubelet", "--config=" + kubeletConfig,
				"--kubeconfig=" + kubeletConf,
				"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
				"--hostname-override=" + p.Name, "--node-ip=" + p.IP,
				"--cgroup-root=" + filepath.Join("/", o.Dirs.cgroup(p.Name)),
				"--node-labels=topology.kubernetes.io/zone=zone-" + string(rune('a'+i)),
			},
			After: []string{kubeletConfig},
		},
		{
			Name: "kube-proxy",
			Args: []string{
				"kube-proxy", "--proxy-mode=nftables", "--kubeconfig=" + proxyConf,
				"--hostname-override=" + p.Name,
				// The machine may not let a network namespace set these.
				"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
				"--conntrack-tcp-timeout-close-wait=0",
			},
			After: []string{kubeadmDone},
		},
	}
	return spec, nil
}

func hosts(nodes int) string {
	var s strings.Builder
	for i := range nodes {
		fmt.Fprintln(&s, nodeIP(i), nodeName(i))
	}
	return s.String()
}
