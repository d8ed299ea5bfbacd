//go:build linux

package nodeimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// packages are those of Debian that a node runs; kind's images/base/Dockerfile
// says what each is for. Storage and what only downloads need is left out.
var packages = []string{
	"systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod",
	"libseccomp2", "jq", "procps", "runc",
}

// debian makes the root file system from the sources that this machine uses.
func (m making) debian() error {
	m.detail("installing Debian's packages into a root file system")
	args := []string{
		"--variant=essential", "--include=" + strings.Join(packages, ","), "--aptopt=APT::Install-Recommends false",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--skip=output/dev", m.suite, m.root,
	}
	for _, sources := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if _, err := os.Stat(sources); err == nil {
			args = append(args, sources)
			break
		}
	}
	_, err := m.run("mmdebstrap", args...)
	return err
}

// notInContainer are the units that kind's images/base/Dockerfile removes.
var notInContainer = []string{
	"lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
	"lib/systemd/system/multi-user.target.wants/*",
	"etc/systemd/system/*.wants/*",
	"lib/systemd/system/local-fs.target.wants/*",
	"lib/systemd/system/sockets.target.wants/*udev*",
	"lib/systemd/system/sockets.target.wants/*initctl*",
	"lib/systemd/system/basic.target.wants/*",
}

// files puts kind's files and the lab's programs into the root file system, as
// images/base/Dockerfile and `kind build node-image` do.
func (m making) files() error {
	m.detail("putting kind's files and the components into it")
	for _, pattern := range notInContainer {
		found, err := filepath.Glob(filepath.Join(m.root, pattern))
		if err != nil {
			return err
		}
		for _, file := range found {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	if err := m.kindFiles(); err != nil {
		return err
	}
	for at, program := range m.nodePrograms() {
		if err := copyFile(program, filepath.Join(m.root, at), 0o755); err != nil {
			return err
		}
	}
	const wants = "etc/systemd/system/multi-user.target.wants/"
	for at, to := range map[string]string{
		"usr/bin/kubeadm": "kubernetes", "usr/bin/kubectl": "kubernetes", "usr/bin/kubelet": "kubernetes",
		"sbin/init": "/usr/lib/systemd/systemd",
		"etc/systemd/system/systemd-binfmt.service": "/dev/null", // it would change the host's kernel
		wants + "kubelet.service":                   "/etc/systemd/system/kubelet.service",
		wants + "containerd.service":                "/etc/systemd/system/containerd.service",
		wants + "undo-mount-hacks.service":          "/etc/systemd/system/undo-mount-hacks.service",
	} {
		link := filepath.Join(m.root, at)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(to, link)); err != nil {
			return err
		}
	}
	journal, err := os.OpenFile(filepath.Join(m.root, "etc/systemd/journald.conf"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(journal, "[Journal]\nReadKMsg=no"); err != nil {
		return err
	}
	return errors.Join(journal.Close(), os.MkdirAll(filepath.Join(m.root, "etc/kubernetes/manifests"), 0o755),
		m.write("kind/version", m.versions[component.Kubernetes.Name]), m.baseSpec())
}

// nodePrograms maps where a node has a program to the component's file.
func (m making) nodePrograms() map[string]string {
	all := map[string]string{"usr/bin/kubernetes": filepath.Join(m.programs[component.Kubernetes.Name], "kubernetes")}
	for dir, c := range map[string]component.Component{"usr/local/bin": component.Containerd, "opt/cni/bin": component.CNI} {
		for program := range c.Programs {
			all[filepath.Join(dir, program)] = filepath.Join(m.programs[c.Name], program)
		}
	}
	return all
}

// kindFiles copies what kind's module holds for a node. A module's files lose
// their modes.
func (m making) kindFiles() error {
	from := filepath.Join(m.kind, "images", "base", "files")
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		at, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if slices.Contains([]string{"usr/local/bin", "kind/bin"}, filepath.Dir(at)) {
			mode = 0o755
		}
		return copyFile(path, filepath.Join(m.root, at), mode)
	})
}

// baseSpec writes containerd's default container with kind's hook.
func (m making) baseSpec() error {
	out, err := m.run(filepath.Join(m.programs[component.Containerd.Name], "ctr"), "oci", "spec")
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(out), &spec); err != nil {
		return fmt.Errorf("ctr oci spec: %w", err)
	}
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	if process, ok := spec["process"].(map[string]any); ok {
		delete(process, "rlimits")
	}
	content, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return m.write("etc/containerd/cri-base.json", string(content))
}

func (m making) write(at, content string) error {
	file := filepath.Join(m.root, at)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o644)
}

var (
	sandboxImage = regexp.MustCompile(`(?m)^(\s*sandbox_image = ).*$`)
	oomScore     = regexp.MustCompile(`(?m)^(\s*restrict_oom_score_adj = ).*$`)
)

// configure makes kind's configuration of containerd name the pause image of
// this Kubernetes, and run where a lower OOM score is denied (CAP_SYS_RESOURCE).
func configure(config, pause string) (string, error) {
	if !sandboxImage.MatchString(config) || !oomScore.MatchString(config) {
		return "", errors.New("kind's configuration of containerd has no sandbox_image and restrict_oom_score_adj")
	}
	config = sandboxImage.ReplaceAllString(config, `${1}"`+pause+`"`)
	return oomScore.ReplaceAllString(config, "${1}true"), nil
}
