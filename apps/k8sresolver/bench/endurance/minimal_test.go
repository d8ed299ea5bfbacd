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
// is the process's own is told apart. gRPC's tracing, which nearly nobody turns on, can
// be left out of a build.
func TestMinimalClient(t *testing.T) {
	if raceEnabled && !*full {
		t.Skip("builds all dependencies once more, without the race detector")
	}
	api := startScripted(t)
	api.Set(sliceOf(newPods(t, 0).startMany(3)...))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, api.CA(), 0o600))
	for _, test := range []struct{ name, tags string }{{"minimal", ""}, {"minimal.grpcnotrace", "grpcnotrace"}} {
		t.Run(test.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "minimal")
			build := exec.CommandContext(t.Context(), "go", "build", "-tags="+test.tags, "-ldflags=-s -w", "-o", program, "./minimal/k8sresolver")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", build.Args, err, out)
			}
			info, err := os.Stat(program)
			must(t, err)
			var resident, own []float64
			for range pick(1, 15) {
				all, anonymous := callOnce(t, program, echoTarget, api.URL(), ca)
				resident, own = append(resident, all), append(own, anonymous)
			}
			slices.Sort(resident)
			slices.Sort(own)
			atMost(t, test.name+".size", float64(info.Size())/(1<<20), "MiB", 21.5)
			atMost(t, test.name+".resident", resident[len(resident)/2], "MB", 15)
			note(t, test.name+".resident.own", own[len(own)/2], "MB")
		})
	}
}

// callOnce runs a minimal client and returns its resident set and its anonymous memory in MB.
func callOnce(t *testing.T, program string, args ...string) (all, anonymous float64) {
	t.Helper()
	var errors bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &errors)
	}
	_, err = fmt.Sscan(string(out), &all, &anonymous)
	must(t, err)
	return all * 1024 / 1e6, anonymous * 1024 / 1e6
}
