//go:build linux

package nodeimage

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// networkImage holds nothing but links: its files are the node's own.
const networkImage = "lab.local/node-network:1"

// system imports the images that kubeadm asks for, and that of the network, into
// the node's containerd, where kubelets keep them.
func (m making) system() error {
	m.detail("packing the control plane's images")
	kubernetes := m.programs[component.Kubernetes.Name]
	list, err := m.run(filepath.Join(kubernetes, "kubeadm"), "config", "images", "list", "--kubernetes-version="+m.versions[component.Kubernetes.Name])
	if err != nil {
		return err
	}
	images, pause, err := m.images(strings.Fields(list))
	if err != nil {
		return err
	}
	const config = "etc/containerd/config.toml"
	content, err := os.ReadFile(filepath.Join(m.root, config))
	if err != nil {
		return err
	}
	configured, err := configure(string(content), pause)
	if err != nil {
		return err
	}
	network, err := sources.ReadFile("files/network.yaml")
	if err != nil {
		return err
	}
	manifest := strings.ReplaceAll(string(network), "IMAGE", networkImage)
	if err := errors.Join(m.write(config, configured), m.write("kind/manifests/default-cni.yaml", manifest)); err != nil {
		return err
	}
	archive := filepath.Join(m.scratch, "system.tar")
	if err := image.Pack(archive, images...); err != nil {
		return err
	}
	return m.load(archive)
}

// images says what each of kubeadm's images is made of.
func (m making) images(refs []string) (images []image.Image, pause string, err error) {
	const at = "/usr/local/bin/"
	// One layer for all that is one program. Kube-proxy calls iptables and nft.
	kubernetes := image.Image{
		Files: map[string]string{at + "kubernetes": filepath.Join(m.programs[component.Kubernetes.Name], "kubernetes")},
		Links: map[string]string{},
		Dirs:  []string{"/tmp", "/run"},
	}
	for _, program := range component.Kubernetes.Links {
		kubernetes.Links[at+program] = "kubernetes"
	}
	if err := m.addFirewall(kubernetes); err != nil {
		return nil, "", err
	}
	for _, ref := range refs {
		name, _, _ := strings.Cut(path.Base(ref), ":")
		i := image.Image{Ref: ref, Entrypoint: []string{at + name}}
		switch name {
		case "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy":
			i.Files, i.Links, i.Dirs = kubernetes.Files, kubernetes.Links, kubernetes.Dirs
		case "etcd", "coredns", "pause":
			i.Files = map[string]string{at + name: filepath.Join(m.programs[name], name)}
		default:
			return nil, "", fmt.Errorf("kubeadm asks for the image %s, which is made of no component", ref)
		}
		if name == "pause" {
			pause = ref
		}
		images = append(images, i)
	}
	if pause == "" {
		return nil, "", fmt.Errorf("kubeadm asks for no pause image: %q", refs)
	}
	return append(images, image.Image{
		Ref: networkImage, Dirs: []string{"/tmp"}, Entrypoint: []string{"/usr/bin/bash"},
		Links: map[string]string{"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"},
	}), pause, nil
}

// addFirewall adds the root file system's iptables and nft and what they load.
func (m making) addFirewall(i image.Image) error {
	const iptables, nft = "/usr/sbin/xtables-nft-multi", "/usr/sbin/nft"
	i.Links["/usr/local/bin/nft"] = nft
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		i.Links["/usr/local/bin/"+name] = iptables
	}
	files, err := filepath.Glob(filepath.Join(m.root, "usr/lib/*/xtables/*.so"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no plugins of iptables in the root file system: %w", err)
	}
	for _, program := range []string{iptables, nft} {
		files = append(files, filepath.Join(m.root, program))
	}
	args := []string{m.root, "ldd"} // a plugin may need more than the program does
	for _, file := range files {
		args = append(args, strings.TrimPrefix(file, m.root))
	}
	listed, err := m.run("chroot", args...)
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(listed) {
		if path.IsAbs(word) && !strings.HasSuffix(word, ":") { // which heads a list
			files = append(files, filepath.Join(m.root, word))
		}
	}
	for _, file := range files {
		i.Files[strings.TrimPrefix(file, m.root)] = file
	}
	return nil
}

// load runs the lab's containerd on the node's directory for long enough to import
// the archive. It unpacks nothing: that depends on the file system that it will
// run on.
func (m making) load(archive string) error {
	m.detail("importing the control plane's images")
	programs := m.programs[component.Containerd.Name]
	socket := filepath.Join(m.scratch, "c.sock")
	config := filepath.Join(m.scratch, "containerd.toml")
	err := os.WriteFile(config, fmt.Appendf(nil, "version = 3\nroot = %q\nstate = %q\ndisabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri']\n[plugins.'io.containerd.server.v1.grpc']\naddress = %q\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(m.root, "var/lib/containerd"), filepath.Join(m.scratch, "state"), socket, socket, socket+".ttrpc"), 0o644)
	if err != nil {
		return err
	}
	daemon, err := start(m.ctx, service{
		args: []string{filepath.Join(programs, "containerd"), "--config=" + config}, log: filepath.Join(m.scratch, "containerd.log"),
		ready: func() bool { _, err := os.Stat(socket); return err == nil },
	})
	if err != nil {
		return err
	}
	defer daemon.stop()
	_, err = m.run(filepath.Join(programs, "ctr"), "--address="+socket, "--namespace=k8s.io", "images", "import",
		"--label=io.cri-containerd.pinned=pinned", "--all-platforms", "--no-unpack", "--digests", archive)
	return err
}
