package main_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// emulated is a terminal with a program in it.
type emulated struct {
	screen vt10x.Terminal
	raw    bytes.Buffer // read it only after the program's end
}

// laneLine is a pod's: its name, its bars and its calls in a second.
var laneLine = regexp.MustCompile(`^  (\S+) .* (\d+)/s *$`)

// lanes returns the calls a second of each pod of a strategy, as the screen has them.
func (e *emulated) lanes(strategy string) (rates []int) {
	inside := false
	for line := range strings.SplitSeq(e.screen.String(), "\n") {
		switch {
		case strings.HasPrefix(line, "▸ ") || strings.HasPrefix(line, "  "+strategy+" "):
			inside = strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "▸ "), "  "), strategy+" ")
		case strings.HasPrefix(line, "  l4 ") || strings.HasPrefix(line, "  k8s-api "):
			inside = false
		case inside:
			if m := laneLine.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[2]) // digits
				rates = append(rates, n)
			}
		}
	}
	return rates
}

func called(rates []int) (n int) {
	for _, r := range rates {
		if r > 0 {
			n++
		}
	}
	return n
}

// checkTerminal presses keys in the terminal of `lab watch --tui`: after a scale-out the new
// pods of k8s-api get calls, and those of l4 get none. Its end gives the terminal back.
func checkTerminal(t *testing.T, f *foreign) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lab, "watch", "--tui", "--context", "granted", "--registry", f.registry, "--push", "--only", e2e, "--yes")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "XDG_CACHE_HOME="+f.cache, "TERM=xterm-256color")
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	e := &emulated{screen: vt10x.New(vt10x.WithSize(120, 40))}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.MultiWriter(e.screen, &e.raw), keys) // it ends with the program
	}()
	await := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if holds() {
				return
			}
		}
		t.Fatalf("the terminal did not show %s:\n%s", what, e.screen.String())
	}
	press := func(key string) {
		t.Helper()
		if _, err := keys.WriteString(key); err != nil {
			t.Fatal(err)
		}
	}
	await("calls of l4 and k8s-api", func() bool { return called(e.lanes("l4")) > 0 && called(e.lanes("k8s-api")) == 3 })
	press("1")
	await("that l4 is scaled out", func() bool { return strings.Contains(e.screen.String(), "l4: done: scale out") })
	press("\t1")
	await("six lanes with calls for k8s-api", func() bool { return called(e.lanes("k8s-api")) == 6 })
	await("six lanes of l4, of which at most three have calls", func() bool { r := e.lanes("l4"); return len(r) == 6 && called(r) <= 3 })
	t.Logf("the screen:\n%s", e.screen.String())
	press("q")
	if err := cmd.Wait(); err != nil {
		t.Errorf("lab watch --tui: %v\n%s", err, e.screen.String())
	}
	_ = keys.Close()
	<-read
	if raw := e.raw.String(); strings.LastIndex(raw, "\x1b[?1049l") < strings.LastIndex(raw, "\x1b[?1049h") {
		t.Error("the terminal's alternate screen was not left")
	}
}
