//go:build linux

package main_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user of this machine without rights.
const nobody = 65534

// second is the home of a second user, and a checkout that both can read.
type second struct{ home, checkout, program string }

func newSecond(t *testing.T) second {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it runs the lab as root and as another user")
	}
	dir := t.TempDir()
	s := second{filepath.Join(dir, "home"), copyOfManifests(t), filepath.Join(dir, "lab")}
	for _, d := range []string{dir, s.checkout} { // below a directory of this test's own
		for _, open := range []string{d, filepath.Dir(d)} {
			if err := os.Chmod(open, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := filepath.WalkDir(s.checkout, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o644)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(lab)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(s.program, program, 0o755), os.Mkdir(s.home, 0o755), os.Chown(s.home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a command as a user with that user's variables.
func (s second) run(t *testing.T, uid uint32, env []string, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.checkout, append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// A user without rights is told a line which does, in a shell whose sudo has a PATH and a
// HOME of its own, what was asked for: with the user's go and cache.
func TestSudoLine(t *testing.T) {
	s := newSecond(t)
	code, said := s.run(t, nobody, []string{"HOME=" + s.home}, s.program, "up", "--nodes", "3")
	want := `sudo env "PATH=$PATH" "HOME=$HOME" ` + s.program + " up --nodes 3"
	last := lastLine(said)
	if code != 3 || !strings.HasSuffix(last, "user 65534: run: "+want) {
		t.Fatalf("exit code %d, want 3 and %q; it says:\n%s", code, want, said)
	}
	line := strings.Replace(want, s.program+" up --nodes 3", `sh -c 'command -v go; echo $HOME; id -u'`, 1)
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "go"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := `sudo() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }
PATH=` + tools + `:$PATH; ` + line
	if code, said := s.run(t, 0, []string{"HOME=" + s.home}, "bash", "-c", script); code != 0 || said != tools+"/go\n"+s.home+"\n0\n" {
		t.Errorf("%s: exit code %d, it says:\n%s", line, code, said)
	}
}

// What root made by sudo in a user's home is the user's afterwards, also where the work
// failed: the user goes on without sudo.
func TestSudoFiles(t *testing.T) {
	s := newSecond(t)
	env := []string{"HOME=" + s.home, "SUDO_UID=65534", "SUDO_GID=65534"}
	failing := []string{s.program, "up", "--nodes", "0"} // after the cache was made
	if code, said := s.run(t, 0, env, failing...); code != 3 || !strings.Contains(said, "0 nodes") {
		t.Fatalf("as root: exit code %d, it says:\n%s", code, said)
	}
	files := 0
	if err := filepath.WalkDir(s.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		files++
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody {
			t.Errorf("%s is root's", path)
		}
		return err
	}); err != nil || files < 5 { // .cache/grpc-lb/clusters/ID/lock
		t.Errorf("%d files, %v: want a cache", files, err)
	}
	if code, said := s.run(t, nobody, env[:1], failing...); code != 3 || !strings.Contains(said, "needs root") {
		t.Errorf("as the user: exit code %d, it says:\n%s", code, said)
	}
}

// A cache that is root's is told with the line that works, also for a look at its cluster.
func TestSudoNeeded(t *testing.T) {
	s := newSecond(t)
	env := []string{"HOME=" + s.home}
	if code, said := s.run(t, 0, env, s.program, "up", "--nodes", "0"); code != 3 {
		t.Fatalf("exit code %d, it says:\n%s", code, said)
	}
	clusters, err := filepath.Glob(filepath.Join(s.home, ".cache/grpc-lb/clusters/*"))
	if err != nil || len(clusters) != 1 {
		t.Fatalf("clusters %v, %v", clusters, err)
	}
	if err := os.WriteFile(filepath.Join(clusters[0], "state.json"), []byte(`{"Ready": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := func(command string, code int) {
		t.Helper()
		if got, said := s.run(t, nobody, env, s.program, command); got != code || !strings.HasSuffix(said, `run: sudo env "PATH=$PATH" "HOME=$HOME" `+s.program+" "+command+"\n") {
			t.Errorf("%s: exit code %d, want %d and the line; it says:\n%s", command, got, code, said)
		}
	}
	want("up", 3)
	want("status", 3)
	// Only root can end nodes, whoever owns the cache.
	for _, file := range []string{"state.json", "lock", "lock.pid"} {
		if err := os.Chown(filepath.Join(clusters[0], file), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(clusters[0], "state.json"), []byte(`{"Nodes": [{"Name": "node-1", "Pid": 1, "Born": 1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want("down", 1)
}
