//go:build linux

package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A closed terminal ends the lab as Ctrl-C does, with what must be cleaned up, and not
// at once where the shell sends the signal too. nohup keeps it from that.
func TestSignals(t *testing.T) {
	for _, test := range []struct {
		name    string
		signals []syscall.Signal
		under   string
		want    string // at the end
	}{
		{name: "interrupt", signals: []syscall.Signal{syscall.SIGINT}, want: "interrupted by interrupt"},
		{name: "terminate", signals: []syscall.Signal{syscall.SIGTERM}, want: "interrupted by terminated"},
		{name: "hang_up", signals: []syscall.Signal{syscall.SIGHUP}, want: "interrupted by hangup"},
		{name: "hang_up_twice", signals: []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}, want: "interrupted by hangup"},
		{name: "hang_up_under_nohup", signals: []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, under: "nohup", want: "interrupted by interrupt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := call{dir: root, cache: t.TempDir(), under: test.under, args: []string{"slow", "--rounds", "1", "--time", "1s", "--rate", "100"}}
			said, code := c.interrupted(t, "pick_first", test.signals...)
			if code != 1 || !strings.HasSuffix(said, test.want+"\n") {
				t.Errorf("exit code %d, want %q at the end of:\n%s", code, test.want, said)
			}
		})
	}
}

// What read the output may be gone with the terminal: the lab ends in order all the same,
// and not by the signal that a write to nobody brings.
func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), lab, "slow", "--rounds", "1", "--time", "1s", "--rate", "100")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatalf("it says %q, %v", line, err)
	}
	_ = r.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if state := cmd.ProcessState; state.ExitCode() != 1 {
		t.Errorf("it ended by %s, want exit code 1", state)
	}
}
