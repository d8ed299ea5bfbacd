//go:build linux

package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// socket is where the daemon listens, in a /run of its own.
const socket = "unix:///run/docker.sock"

// Programs are Docker's: a directory in which Debian's packages are unpacked, so
// that installing them starts no daemon, or "" where they are installed.
type Programs string

// FetchPrograms gets Debian's Docker, unless it is there.
func FetchPrograms(ctx context.Context, cache string, detail func(string)) (Programs, error) {
	if _, err := exec.LookPath("dockerd"); err == nil {
		return "", nil
	}
	dir := filepath.Join(cache, "kind", "docker")
	if _, err := os.Stat(dir); err == nil {
		return Programs(dir), nil
	}
	detail("fetching Debian's Docker")
	scratch := dir + ".new"
	if err := errors.Join(os.RemoveAll(scratch), os.MkdirAll(filepath.Join(scratch, "archives", "partial"), 0o755)); err != nil {
		return "", err
	}
	wanted := []string{"docker.io", "containerd", "iptables"}
	if exec.CommandContext(ctx, "apt-cache", "show", "docker-cli").Run() == nil {
		wanted = append(wanted, "docker-cli") // a package of its own in newer Debians
	}
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nodeimage: apt-get %s: %w:\n  %s", args[0], err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	archives := "Dir::Cache::archives=" + filepath.Join(scratch, "archives")
	if err := apt("update", "-q"); err != nil {
		return "", err
	}
	if err := apt(append([]string{"install", "-q", "-y", "--download-only", "--no-install-recommends", "-o", archives}, wanted...)...); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(scratch, "archives", "*.deb"))
	if err != nil {
		return "", err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, scratch).CombinedOutput(); err != nil {
			return "", fmt.Errorf("nodeimage: unpacking %s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	if err := os.RemoveAll(filepath.Join(scratch, "archives")); err != nil {
		return "", err
	}
	// The package's scripts would make these links.
	for _, name := range []string{"iptables", "ip6tables"} {
		link := filepath.Join(scratch, "usr/sbin", name)
		if err := os.Symlink("xtables-nft-multi", link); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return Programs(dir), os.Rename(scratch, dir)
}

// env is what Docker's programs run with.
func (p Programs) env() []string {
	if p == "" {
		return nil
	}
	libraries, _ := filepath.Glob(filepath.Join(string(p), "usr/lib/*-linux-gnu*"))
	env := []string{p.path(), "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	if len(libraries) > 0 {
		env = append(env, "XTABLES_LIBDIR="+filepath.Join(libraries[0], "xtables"))
	}
	return env
}

// path lets commands find the docker that fits the daemon.
func (p Programs) path() string {
	return fmt.Sprintf("PATH=%[1]s/usr/sbin:%[1]s/usr/bin:%[2]s", p, os.Getenv("PATH"))
}

// Daemon is a Docker daemon in namespaces of its own: nothing of it is seen
// outside, and all of it ends with the namespaces' first process.
type Daemon struct {
	Programs Programs
	Dir      string // its data; the caller removes it
	// Wrapper is how this program is started as [RunC].
	Wrapper []string
	// Cgroup is the group that holds all containers, seen from the root.
	Cgroup string
}

// Namespaces says how the process that calls [Daemon.Serve] is started.
func Namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
}

// Serve starts the daemon, loads the image and runs the command with the
// environment by which it finds both. It is called in fresh namespaces.
func (d Daemon) Serve(ctx context.Context, i Image, command ...string) error {
	if err := prepare(); err != nil {
		return fmt.Errorf("nodeimage: %w", err)
	}
	args, err := d.arguments()
	if err != nil {
		return err
	}
	daemon, err := start(ctx, service{args: args, env: d.Programs.env(), log: filepath.Join(d.Dir, "dockerd.log"), ready: func() bool {
		return exec.CommandContext(ctx, "docker", "--host="+socket, "version").Run() == nil
	}})
	if err != nil {
		return fmt.Errorf("nodeimage: %w", err)
	}
	defer daemon.stop()
	if err := os.Setenv("DOCKER_HOST", socket); err != nil {
		return err
	}
	if d.Programs != "" {
		if err := os.Setenv("PATH", strings.TrimPrefix(d.Programs.path(), "PATH=")); err != nil {
			return err
		}
	}
	if err := Load(ctx, i); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "LAB_NODE_IMAGE="+i.Ref)
	return cmd.Run()
}

// prepare makes a private view of what a daemon looks at.
func prepare() error {
	for _, m := range []struct {
		what, at, kind string
		flags          uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"run", "/run", "tmpfs", 0}, // another Docker's sockets are not for it
	} {
		if err := unix.Mount(m.what, m.at, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(loopback)
}

// arguments writes the daemon's configuration.
func (d Daemon) arguments() ([]string, error) {
	program, err := lookPath("dockerd", d.Programs)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(d.Dir, "daemon.json")
	args := []string{
		program, "--config-file=" + config, "--host=" + socket, "--data-root=" + filepath.Join(d.Dir, "data"),
		"--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--cgroup-parent=/" + d.Cgroup, "--exec-opt=native.cgroupdriver=cgroupfs",
	}
	content := "{}"
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	if lacksResources(string(status)) {
		runc, err := lookPath("runc", d.Programs)
		if err != nil {
			return nil, err
		}
		wrapper := filepath.Join(d.Dir, "runc")
		script := "#!/bin/sh\nexec " + strings.Join(append(slices.Clone(d.Wrapper), runc), " ") + ` "$@"` + "\n"
		if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
			return nil, err
		}
		content = fmt.Sprintf(`{"runtimes": {"lab": {"path": %q}}, "default-runtime": "lab", "oom-score-adjust": 0}`, wrapper)
	}
	return args, os.WriteFile(config, []byte(content), 0o644)
}

// lookPath finds a program among Docker's, then on PATH.
func lookPath(program string, p Programs) (string, error) {
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		file := filepath.Join(string(p), dir, program)
		if _, err := os.Stat(file); p != "" && err == nil {
			return file, nil
		}
	}
	return exec.LookPath(program)
}

// RemoveCgroup removes the daemon's groups once its processes have ended.
func (d Daemon) RemoveCgroup() error {
	var dirs []string
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + d.Cgroup)
	if err != nil {
		return err
	}
	for _, root := range append(roots, filepath.Join("/sys/fs/cgroup", d.Cgroup)) {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	var errs []error
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kernelSettings are the host's that a kubelet changes.
var kernelSettings = []string{"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory"}

// KeepKernel notes the host's settings that a kubelet changes; what it returns
// sets them again.
func KeepKernel() (restore func() error) {
	before := map[string][]byte{}
	for _, key := range kernelSettings {
		if value, err := os.ReadFile("/proc/sys/" + key); err == nil {
			before[key] = value
		}
	}
	return func() error {
		var errs []error
		for key, value := range before {
			if now, err := os.ReadFile("/proc/sys/" + key); err == nil && string(now) != string(value) {
				errs = append(errs, os.WriteFile("/proc/sys/"+key, value, 0))
			}
		}
		return errors.Join(errs...)
	}
}
