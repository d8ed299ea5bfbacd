//go:build linux

package builtin_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

func newSpec(t *testing.T, i int) node.Spec {
	t.Helper()
	spec, err := builtin.NodeSpec(builtin.Options{Dirs: builtin.NewDirs("/cache", "/checkout"), Nodes: 3, Patience: 1.5}, i,
		map[string]string{"kubernetes": "/cache/components/kubernetes-1", "etcd": "/cache/components/etcd-1"},
		map[string]string{"kubernetes": "v1.2.3", "etcd": "v4.5.6", "coredns": "v7.8.9"})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// documents returns a YAML file's documents by their kind.
func documents(t *testing.T, file string) map[string]map[string]any {
	t.Helper()
	docs := map[string]map[string]any{}
	for text := range strings.SplitSeq(file, "\n---\n") {
		var doc map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &doc); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		docs[fmt.Sprint(doc["kind"])] = doc
	}
	return docs
}

// field returns the value at a path of names, as text.
func field(doc map[string]any, path string) string {
	var at any = doc
	for name := range strings.SplitSeq(path, ".") {
		m, _ := at.(map[string]any)
		at = m[name]
	}
	return fmt.Sprint(at)
}

func TestNodeSpec(t *testing.T) {
	control := []string{
		"/etc/cni/net.d/10-lab.conflist", "/etc/containerd/config.toml", "/etc/hostname", "/etc/hosts",
		"/etc/lab/audit-policy.yaml", "/etc/lab/kubeadm.yaml",
		"/etc/lab/patches/etcd.yaml", "/etc/lab/patches/kube-apiserver.yaml", "/etc/lab/patches/kube-controller-manager.yaml", "/etc/lab/patches/kube-scheduler.yaml",
		"/etc/resolv.conf",
	}
	tests := []struct {
		name     string
		node     int
		hostname string
		forward  string
		kubeadm  string // its command
		kinds    []string
		fields   map[string]string // "Kind path" of kubeadm's file
		files    []string
		args     []string // of any process
	}{
		{
			name: "control plane", node: 0, hostname: "node-1", forward: "172.30.0.1:6443", kubeadm: "init",
			kinds: []string{"ClusterConfiguration", "InitConfiguration", "KubeletConfiguration"},
			fields: map[string]string{
				"InitConfiguration nodeRegistration.name":             "node-1",
				"InitConfiguration localAPIEndpoint.advertiseAddress": "172.30.0.1",
				"ClusterConfiguration controlPlaneEndpoint":           "172.30.0.1:6443",
				"ClusterConfiguration kubernetesVersion":              "v1.2.3",
				"ClusterConfiguration etcd.local.imageTag":            "v4.5.6",
				"ClusterConfiguration networking.serviceSubnet":       "10.96.0.0/16",
				// 1.5 times what kubeadm and the kubelet take.
				"InitConfiguration timeouts.controlPlaneComponentHealthCheck": "360s",
				"KubeletConfiguration runtimeRequestTimeout":                  "180s",
			},
			files: control,
			args: []string{
				"--hostname-override=node-1", "--node-ip=172.30.0.1", "--kubeconfig=/etc/kubernetes/admin.conf",
				"--node-labels=topology.kubernetes.io/zone=zone-a",
			},
		},
		{
			name: "worker", node: 2, hostname: "node-3", kubeadm: "join",
			kinds: []string{"JoinConfiguration"},
			fields: map[string]string{
				"JoinConfiguration nodeRegistration.name":         "node-3",
				"JoinConfiguration discovery.file.kubeConfigPath": "/run/lab/admin.conf",
				"JoinConfiguration timeouts.tlsBootstrap":         "450s",
			},
			files: slices.DeleteFunc(slices.Clone(control), func(f string) bool { return strings.Contains(f, "audit") || strings.Contains(f, "patches") }),
			args: []string{
				"--hostname-override=node-3", "--node-ip=172.30.0.3", "--kubeconfig=/run/lab/admin.conf",
				"--node-labels=topology.kubernetes.io/zone=zone-c",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := newSpec(t, tt.node)
			if spec.Name != tt.hostname || spec.Forward != tt.forward {
				t.Errorf("name %q, forward %q, want %q, %q", spec.Name, spec.Forward, tt.hostname, tt.forward)
			}
			if diff := cmp.Diff(tt.files, slices.Sorted(maps.Keys(spec.Files))); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if got := spec.Files["/etc/resolv.conf"]; got != "" {
				t.Errorf("/etc/resolv.conf holds %q, want nothing", got)
			}
			docs := documents(t, spec.Files["/etc/lab/kubeadm.yaml"])
			if diff := cmp.Diff(tt.kinds, slices.Sorted(maps.Keys(docs))); diff != "" {
				t.Errorf("kubeadm.yaml's kinds (-want +got):\n%s", diff)
			}
			for path, want := range tt.fields {
				kind, path, _ := strings.Cut(path, " ")
				if got := field(docs[kind], path); got != want {
					t.Errorf("%s: %s = %q, want %q", kind, path, got, want)
				}
			}
			var args []string
			for _, p := range spec.Processes {
				args = append(args, p.Args...)
			}
			for _, want := range append(tt.args, tt.kubeadm) {
				if !slices.Contains(args, want) {
					t.Errorf("no process has %s: %s", want, args)
				}
			}
		})
	}
}

// What two nodes share must not be told apart, and what is a node's own must.
func TestNodesDiffer(t *testing.T) {
	one, two := newSpec(t, 1), newSpec(t, 2)
	if one.Files["/etc/hosts"] != two.Files["/etc/hosts"] {
		t.Error("two nodes have different /etc/hosts")
	}
	if want := "172.30.0.3 node-3\n"; !strings.HasSuffix(one.Files["/etc/hosts"], want) {
		t.Errorf("/etc/hosts lacks %q:\n%s", want, one.Files["/etc/hosts"])
	}
	if one.Dir == two.Dir || one.Binds["/var/log/lab"] == two.Binds["/var/log/lab"] {
		t.Errorf("two nodes share a directory: %s, %s", one.Dir, one.Binds["/var/log/lab"])
	}
	if file := "/etc/cni/net.d/10-lab.conflist"; one.Files[file] == two.Files[file] {
		t.Errorf("two nodes share %s and so the pods' addresses", file)
	}
	if got, want := one.Binds["/opt/lab/etcd"], "/cache/components/etcd-1"; got != want {
		t.Errorf("etcd is bound from %q, want %q", got, want)
	}
}

func TestAuditPolicy(t *testing.T) {
	docs := documents(t, newSpec(t, 0).Files["/etc/lab/audit-policy.yaml"])
	if _, ok := docs["Policy"]; !ok || len(docs) != 1 {
		t.Errorf("audit-policy.yaml holds %v, want one Policy", slices.Collect(maps.Keys(docs)))
	}
}

// A probe of a static pod waits as long as the machine may need, in its own container.
func TestStaticPods(t *testing.T) {
	spec := newSpec(t, 0)
	for _, name := range []string{"etcd", "kube-apiserver"} {
		var pod struct {
			Spec struct {
				Containers []struct {
					Name          string
					LivenessProbe struct{ TimeoutSeconds, PeriodSeconds int }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(spec.Files["/etc/lab/patches/"+name+".yaml"]), &pod); err != nil {
			t.Fatal(err)
		}
		c := pod.Spec.Containers
		if len(c) != 1 || c[0].Name != name || c[0].LivenessProbe.TimeoutSeconds != 23 || c[0].LivenessProbe.PeriodSeconds != 15 {
			t.Errorf("patch of %s: %+v, want its container with 23 s and 15 s", name, c)
		}
	}
}
