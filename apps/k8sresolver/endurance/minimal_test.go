package endurance_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Tests the size of the least client, stripped, and its resident set when the first
// call has returned: the median of several starts. Most of it is the program's file,
// of which the kernel maps more than is used, by how the file lies in its cache; what
// is the process's own is told apart.
func TestMinimalClient(t *testing.T) {
	if raceEnabled && !*full {
		t.Skip("builds all dependencies once more, without the race detector")
	}
	dir := t.TempDir()
	program, ca := filepath.Join(dir, "minimal"), filepath.Join(dir, "ca.pem")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, "./minimal")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", build.Args, err, out)
	}
	info, err := os.Stat(program)
	must(t, err)
	api := startScripted(t)
	api.Set(sliceOf(newPods(t, 0).startMany(3)...))
	must(t, os.WriteFile(ca, api.CA(), 0o600))

	var resident, own []float64
	for range pick(1, 15) {
		var errors bytes.Buffer
		cmd := exec.CommandContext(t.Context(), program, echoTarget, api.URL(), ca)
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &errors)
		}
		var all, anonymous float64
		_, err = fmt.Sscan(string(out), &all, &anonymous)
		must(t, err)
		resident, own = append(resident, all*1024/1e6), append(own, anonymous*1024/1e6)
	}
	slices.Sort(resident)
	slices.Sort(own)
	atMost(t, "minimal.size", float64(info.Size())/(1<<20), "MiB", 21.5)
	atMost(t, "minimal.resident", resident[len(resident)/2], "MB", 15)
	note(t, "minimal.resident.own", own[len(own)/2], "MB")
}
