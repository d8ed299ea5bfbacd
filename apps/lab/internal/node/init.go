//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const specFile = "/run/lab/spec.json"

// Main never returns when the program was started as a part of a node, and does
// nothing otherwise.
func Main() {
	var err error
	switch os.Args[0] {
	case arg0Init:
		err = initMain()
	case arg0Run:
		err = runMain()
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// initMain is the node's process 1. It ends when its only child ends, and the
// kernel then ends everything else.
func initMain() error {
	parent := json.NewDecoder(os.Stdin)
	var data json.RawMessage
	if err := parent.Decode(&data); err != nil {
		return fmt.Errorf("node: no spec came from the parent: %w", err)
	}
	go func() {
		var word string
		if err := parent.Decode(&word); err != nil {
			fmt.Fprintln(os.Stderr, "node: the program that started it has ended:", err)
			os.Exit(1)
		}
	}()
	var spec Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("node: the parent's spec: %w", err)
	}
	if err := enterRoot(spec); err != nil {
		return fmt.Errorf("node %s: %w", spec.Name, err)
	}
	if err := prepare(spec, data); err != nil {
		return fmt.Errorf("node %s: %w", spec.Name, err)
	}
	cmd := exec.Cmd{
		Path: "/proc/self/exe", Args: []string{arg0Run},
		Env:    []string{"PATH=" + spec.Path, "HOME=/root"},
		Stdout: os.Stdout, Stderr: os.Stderr,
	}
	for fd := uintptr(3); fd <= 4; fd++ {
		if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err == nil {
			cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(fd, ""))
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if pid == cmd.Process.Pid || (err != nil && !errors.Is(err, syscall.EINTR)) {
			return fmt.Errorf("node %s: its supervisor ended with status %d: %w", spec.Name, status, err)
		}
	}
}

// enterRoot makes the node's root file system and changes into it.
func enterRoot(spec Spec) error {
	base := spec.Dir
	root := filepath.Join(base, "root")
	m := mounter{}
	m.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	m.mount("lab", base, "tmpfs", 0, "mode=755")
	for _, d := range []string{"upper", "work", "root", "data", "kernel"} {
		m.mkdir(filepath.Join(base, d))
	}
	m.mount("lab", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%[1]s/upper,workdir=%[1]s/work", base))
	m.mount("proc", root+"/proc", "proc", 0, "")
	m.mount("run", root+"/run", "tmpfs", 0, "mode=755")
	m.mount("tmp", root+"/tmp", "tmpfs", 0, "mode=1777")
	m.mount("/sys", root+"/sys", "", unix.MS_BIND|unix.MS_REC, "")
	m.mount("/dev", root+"/dev", "", unix.MS_BIND|unix.MS_REC, "")
	m.shield(base, root, spec.Shadowed)
	for _, p := range spec.Empty {
		m.do(func() error { return os.RemoveAll(root + p) })
	}
	for i, p := range spec.Data {
		dir := fmt.Sprintf("%s/data/%d", base, i)
		m.mkdir(dir)
		m.bind(dir, root+p)
		// kubelet hands mounts below its directory on to containers.
		m.mount("", root+p, "", unix.MS_SHARED, "")
	}
	for to, from := range spec.Binds {
		m.bind(from, root+to)
	}
	old := root + "/.host"
	m.mkdir(old)
	m.do(func() error { return unix.PivotRoot(root, old) })
	m.do(func() error { return os.Chdir("/") })
	m.do(func() error { return unix.Unmount("/.host", unix.MNT_DETACH) })
	m.do(func() error { return os.Remove("/.host") })
	return m.err
}

// prepare writes the node's files, name and kernel settings.
func prepare(spec Spec, data []byte) error {
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	for key, value := range spec.Sysctls {
		path := filepath.Join("/proc/sys/net", key)
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("setting net.%s to %s: %w", strings.ReplaceAll(key, "/", "."), value, err)
		}
	}
	files := map[string]string{specFile: string(data)}
	maps.Copy(files, spec.Files)
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// A host's file may be a link out of the node, as /etc/resolv.conf often is.
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mounter keeps the first error of a chain of calls.
type mounter struct{ err error }

func (m *mounter) do(f func() error) {
	if m.err == nil {
		m.err = f()
	}
}

func (m *mounter) mkdir(path string) {
	m.do(func() error { return os.MkdirAll(path, 0o755) })
}

func (m *mounter) mount(source, target, fstype string, flags uintptr, data string) {
	m.do(func() error {
		if err := unix.Mount(source, target, fstype, flags, data); err != nil {
			return fmt.Errorf("mounting %s %q on %s: %w", fstype, source, target, err)
		}
		return nil
	})
}

// readOnly lets what is mounted at a path be read only; what is mounted below it
// stays as it is.
func (m *mounter) readOnly(path string) {
	m.mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// shield keeps the node from the settings of the kernel, which are the machine's
// but for those of the network. Shadowed ones are copies that can be written.
func (m *mounter) shield(base, root string, shadowed []string) {
	settings := root + "/proc/sys"
	m.mount(settings, settings, "", unix.MS_BIND, "")
	m.mount(settings+"/net", settings+"/net", "", unix.MS_BIND, "")
	m.readOnly(settings)
	m.readOnly(root + "/sys")
	for i, name := range shadowed {
		file, shadow := filepath.Join(settings, name), fmt.Sprintf("%s/kernel/%d", base, i)
		m.do(func() error {
			value, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("a copy of a setting of the kernel: %w", err)
			}
			return os.WriteFile(shadow, value, 0o644)
		})
		m.mount(shadow, file, "", unix.MS_BIND, "")
	}
}

func (m *mounter) bind(from, to string) {
	m.mkdir(to)
	m.mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}
