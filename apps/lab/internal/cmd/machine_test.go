//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

// machine is what a cluster could change of the machine, by kind and name.
type machine map[string]string

// counters are settings of the kernel that tell what it does.
var counters = regexp.MustCompile(`^(fs/(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota/.*)|kernel/(ns_last_pid|hung_task_detect_count|pty/nr|random/.*|perf_event_max_sample_rate)|net/netfilter/nf_conntrack_count)$`)

// dockerLinks are those of Docker, which other tests use meanwhile.
var dockerLinks = regexp.MustCompile(`\b(veth|br-|docker)`)

// look reads the machine: the kernel's settings, cgroups and profiles, mounts, links,
// routes, the cluster's processes, and the directories that programs of nodes write to.
func look(t *testing.T, cluster builtin.Dirs) machine {
	t.Helper()
	m := machine{}
	walk := func(dir string, depth int, visit func(path string, d fs.DirEntry)) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // it has gone, or must not be read
			}
			visit(path, d)
			if below := strings.TrimPrefix(path, strings.TrimSuffix(dir, "/")); d.IsDir() && path != dir && strings.Count(below, "/") >= depth {
				return fs.SkipDir
			}
			return nil
		})
	}
	read := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			return "unreadable"
		}
		return strings.TrimSpace(string(content))
	}
	lines := func(kind, content string) {
		for line := range strings.Lines(content) {
			if dockerLinks.MatchString(line) {
				continue
			}
			m[kind+" "+strings.TrimSpace(line)] += "1"
		}
	}
	walk("/proc/sys", 99, func(path string, d fs.DirEntry) {
		if name := strings.TrimPrefix(path, "/proc/sys/"); !d.IsDir() && !counters.MatchString(name) && !dockerLinks.MatchString(name) {
			m["setting "+name] = read(path)
		}
	})
	walk("/sys/fs/cgroup", 99, func(path string, d fs.DirEntry) {
		another := strings.Contains(path, "/grpc-lb-") && !strings.Contains(path, cluster.ID)
		if d.IsDir() && !another && !strings.Contains(path, ".slice") && !strings.Contains(path, ".scope") { // these are systemd's
			m["cgroup "+path] = read(path + "/cgroup.subtree_control")
		}
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		lines("mount", strings.Join(strings.Fields(line)[3:], " ")) // ids change
	}
	lines("profile", read("/sys/kernel/security/apparmor/profiles"))
	lines("route", read("/proc/net/route"))
	walk("/sys/class/net", 1, func(path string, _ fs.DirEntry) { lines("link", path) })
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		command := read(p + "/cmdline")
		if strings.Contains(command+read(p+"/mountinfo"), cluster.Cluster) || strings.HasPrefix(command, lab+"\x00") {
			m["process "+p] = strings.ReplaceAll(command, "\x00", " ")
		}
	}
	file := func(path string, d fs.DirEntry) {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			m["file "+path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
		} else {
			m["file "+path] = "directory"
		}
	}
	walk("/etc", 99, file)
	walk("/opt", 99, file)
	for _, dir := range []string{"/", "/run", "/var/lib", "/var/log"} {
		walk(dir, 1, func(path string, _ fs.DirEntry) { m["name "+path] = "" })
	}
	for _, pattern := range []string{"/run/netns/*", "/run/containerd/*", "/var/lib/cni/*", "/var/lib/kubelet/*", os.TempDir() + "/lab-*", os.TempDir() + "/grpc-lb-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			m["name "+path] = ""
		}
	}
	return m
}

// wantUnchanged waits a moment for what ends, and verifies that the machine is as it
// was. A kernel module that was loaded stays, and brings settings.
func wantUnchanged(t *testing.T, cluster builtin.Dirs, before machine) {
	t.Helper()
	var diff []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		after := look(t, cluster)
		maps.DeleteFunc(after, func(name, _ string) bool {
			_, known := before[name]
			return !known && strings.HasPrefix(name, "setting ")
		})
		if diff = before.diff(after); len(diff) == 0 {
			t.Logf("%d things of the machine are as they were", len(before))
			return
		}
	}
	t.Errorf("%d differences (-before +after):\n%s", len(diff), strings.Join(diff, "\n"))
}

// diff returns a line for each thing that was or is otherwise.
func (m machine) diff(after machine) (lines []string) {
	all := maps.Clone(m)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, before := m[name]
		is, now := after[name]
		if before && (!now || was != is) {
			lines = append(lines, fmt.Sprintf("- %s: %q", name, was))
		}
		if now && (!before || was != is) {
			lines = append(lines, fmt.Sprintf("+ %s: %q", name, is))
		}
	}
	return lines
}

// A look at the machine sees what a cluster could leave.
func TestLook(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a mount and a cgroup")
	}
	cluster := builtin.NewDirs(t.TempDir(), root)
	before := look(t, cluster)
	for _, kind := range []string{"setting kernel/panic", "cgroup /sys/fs/cgroup", "link /sys/class/net/lo", "file /etc/passwd", "name /run"} {
		if _, ok := before[kind]; !ok {
			t.Errorf("it does not see %s", kind)
		}
	}
	dir := t.TempDir()
	if err := syscall.Mount("left", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	cmd := exec.Command("sh", "-c", "read line", cluster.Cluster)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	roots, err := filepath.Glob("/sys/fs/cgroup/cgroup.procs")
	if len(roots) == 0 {
		roots, err = filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	}
	if err != nil || len(roots) == 0 {
		t.Fatal("no cgroups", err)
	}
	group := filepath.Join(filepath.Dir(roots[0]), "grpc-lb-"+cluster.ID)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Rmdir(group) }()
	seen := before.diff(look(t, cluster))
	for _, want := range []string{"mount / " + dir, "process /proc/" + fmt.Sprint(cmd.Process.Pid), "cgroup " + group} {
		if !slices.ContainsFunc(seen, func(line string) bool { return strings.HasPrefix(line, "+ "+want) }) {
			t.Errorf("it does not see %q, only:\n%s", want, strings.Join(seen, "\n"))
		}
	}
}

// interrupted runs the lab until a step is done, sends it the signals in the middle of
// the next one, and returns what it said until it ended.
func (c call) interrupted(t *testing.T, after string, signals ...syscall.Signal) (said string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lab, c.args...)
	if c.under != "" {
		cmd = exec.CommandContext(t.Context(), c.under, append([]string{lab}, c.args...)...)
	}
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "XDG_CACHE_HOME="+c.cache)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Who runs the tests may ignore it, as nohup does, and children inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		if after != "" && strings.Contains(lines.Text(), after+": done") {
			after = ""
			time.AfterFunc(300*time.Millisecond, func() {
				for _, s := range signals {
					_ = cmd.Process.Signal(s)
				}
			})
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if after != "" {
		t.Fatalf("it never did %q:\n%s", after, &all)
	}
	return all.String(), cmd.ProcessState.ExitCode()
}

// Whatever way a cluster ends, the machine is as it was before it: settings of the
// kernel, cgroups, profiles, mounts, links, processes and files. LAB_E2E=all sends
// each signal at each moment.
func TestMachineUnchanged(t *testing.T) {
	if os.Getenv("LAB_E2E") == "" || os.Geteuid() != 0 {
		t.Skip("boots clusters: run as root `LAB_E2E=1 go test ./apps/lab/internal/cmd -run TestMachineUnchanged -v -timeout 60m`: 4 minutes where `lab run` has built its components before")
	}
	cache, err := os.UserCacheDir() // with the components
	if err != nil {
		t.Fatal(err)
	}
	checkout := copyCheckout(t)
	dirs := builtin.Dirs{Dirs: takenDown(t, cache, checkout)}
	lab := func(args ...string) call { return call{dir: checkout, cache: cache, args: args} }
	succeed := func(t *testing.T, args ...string) {
		t.Helper()
		if code, _, stderr := lab(args...).run(t); code != 0 {
			t.Fatalf("lab %s: exit code %d:\n%s", strings.Join(args, " "), code, stderr)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	before := look(t, dirs)
	t.Run("up and down", func(t *testing.T) {
		succeed(t, "up", "--cluster", "builtin")
		succeed(t, "status")
		succeed(t, "down")
		wantUnchanged(t, dirs, before)
	})
	t.Run("a node is killed, then down", func(t *testing.T) {
		succeed(t, "up", "--cluster", "builtin")
		cluster, err := builtin.Find(dirs)
		if err != nil || cluster == nil {
			t.Fatalf("no cluster: %v", err)
		}
		if err := syscall.Kill(cluster.Nodes()[0].Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		succeed(t, "down")
		wantUnchanged(t, dirs, before)
	})
	t.Run("run", func(t *testing.T) {
		succeed(t, "run", "--cluster", "builtin", "--only", "l4")
		wantUnchanged(t, dirs, before)
	})
	moments := []string{"check the machine", "start 2 nodes", "load the system's images", "start the control plane", "wait for nodes and DNS", "load the images"}
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGTERM}
	for i, moment := range moments {
		for j, signal := range signals {
			if os.Getenv("LAB_E2E") != "all" && i%len(signals) != j {
				continue
			}
			t.Run(fmt.Sprintf("%s after %s", signal, moment), func(t *testing.T) {
				said, code := lab("run", "--cluster", "builtin", "--only", "l4").interrupted(t, moment, signal)
				if wanted := "interrupted by " + signal.String(); signal != syscall.SIGKILL && (code <= 0 || !strings.Contains(lastLine(said), wanted)) {
					t.Errorf("exit code %d, want %q in the last line of:\n%s", code, wanted, said)
				}
				wantUnchanged(t, dirs, before)
			})
		}
	}
}
