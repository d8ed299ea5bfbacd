package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

const (
	linkerd = "docker.io/buoyantio/linkerd:1.7.5" // as overlays/linkerd names it
	short   = "buoyantio/linkerd:1.7.5"
	standIn = "apps/lab/internal/cmd/testdata/l5d-stand-in, not Linkerd"
)

// packStandIn builds the program that plays Linkerd 1's part and returns an
// archive of it under Linkerd's name and that tag.
func packStandIn(t *testing.T, tag string) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "linkerd.tar")
	// overlays/linkerd gives the configuration's path alone.
	pack(t, archive, "docker.io/buoyantio/linkerd:"+tag, "./testdata/l5d-stand-in", map[string]string{image.StandInLabel: standIn})
	return archive
}

// pack builds a program and writes an image of nothing else.
func pack(t *testing.T, archive, ref, program string, labels map[string]string) {
	t.Helper()
	built := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", built, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the image has no libraries
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	at := "/usr/local/bin/" + filepath.Base(program)
	if err := image.Pack(archive, image.Image{
		Ref: ref, Files: map[string]string{at: built}, Entrypoint: []string{at}, User: image.NonRoot, Labels: labels,
	}); err != nil {
		t.Fatal(err)
	}
}

// A file that is not the image that a manifest names is refused in one line
// that says what is expected, before anything is built or booted.
func TestImageRefused(t *testing.T) {
	good, older := packStandIn(t, "1.7.5"), packStandIn(t, "1.7.4")
	dir, cache := t.TempDir(), t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	truncated, text := write("truncated.tar", whole[:len(whole)/2]), write("text.tar", []byte("not an archive\n"))
	foreign := filepath.Join(dir, "foreign.tar")
	architecture := packForeign(t, foreign)

	for _, tt := range []struct {
		name string
		args []string
		want []string // in the line on stderr
	}{
		{"truncated_archive", []string{"--image", linkerd + "=" + truncated}, []string{truncated, "cut short"}},
		{"text_file", []string{"--image", linkerd + "=" + text}, []string{text, "not an archive", "docker save"}},
		{"no_file", []string{"--image", linkerd + "=" + dir + "/none.tar"}, []string{dir + "/none.tar", "no such file"}},
		{"another_architecture", []string{"--image", linkerd + "=" + foreign}, []string{foreign, "linux/" + architecture, "want one for linux/" + runtime.GOARCH}},
		{"another_name", []string{"--image", linkerd + "=" + older}, []string{"does not hold " + linkerd, "docker.io/buoyantio/linkerd:1.7.4"}},
		{"image_that_no_overlay_names", []string{"--image", "buoyantio/linkerd:1.7.4=" + older}, []string{"buoyantio/linkerd:1.7.4", "expected one of " + linkerd}},
		{"image_that_no_overlay_of_the_run_names", []string{"--only", "l4", "--image", linkerd + "=" + good}, []string{linkerd, "no overlay of this run has that image"}},
		{"image_given_twice", []string{"--image", short + "=" + good, "--image", linkerd + "=" + good}, []string{"twice"}},
		{"no_reference", []string{"--image", good}, []string{good, "want REF=FILE"}},
		{"no_value", []string{"--image", linkerd + "="}, []string{linkerd + "=", "want REF=FILE"}},
		{"no_tag", []string{"--image", "buoyantio/linkerd=" + good}, []string{"want REF=FILE", "tag"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"run"}, tt.args...)
			if !slices.Contains(args, "--only") {
				args = append(args, "--only", "linkerd")
			}
			call{cache: cache, args: args}.wantFailure(t, 2, tt.want...)
		})
	}
	for _, made := range []string{"components", "clusters/*/state.json", "images/.given-*"} {
		if found, err := filepath.Glob(filepath.Join(cache, "grpc-lb", made)); err != nil || len(found) > 0 {
			t.Errorf("the cache holds %v (%v), want nothing built or left half done", found, err)
		}
	}
}

// packForeign writes an image of an architecture that this machine does not
// have, and returns that.
func packForeign(t *testing.T, file string) string {
	t.Helper()
	architecture := "s390x"
	if runtime.GOARCH == architecture {
		architecture = "amd64"
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", architecture, v1.Config{Entrypoint: []string{"/l5d"}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(linkerd)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		t.Fatal(err)
	}
	return architecture
}

// An image that the lab does not build is loaded into every node from a file,
// and every claim about its strategy is then judged, on a cluster of a copy of
// this checkout. The image is a stand-in, and no output lets it pass for the
// real thing. Nothing is left of the cluster.
func TestImageGiven(t *testing.T) {
	if os.Getenv("LAB_E2E") != "1" {
		t.Skip("boots a cluster: run as root `LAB_E2E=1 go test ./apps/lab/internal/cmd -run TestImageGiven -v -timeout 60m`: 3 minutes where `lab run` has built its components before")
	}
	cache, err := os.UserCacheDir() // with the components
	if err != nil {
		t.Fatal(err)
	}
	archive, checkout := packStandIn(t, "1.7.5"), copyCheckout(t)
	dirs := takenDown(t, cache, checkout)
	code, stdout, stderr := call{dir: checkout, cache: cache, args: []string{
		"run", "--only", "linkerd", "--image", short + "=" + archive, "--require", "linkerd", "-o", "json",
	}}.run(t)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	wantGone(t, dirs)
	var result report.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("stdout is not JSON: %v\n%s\nstderr:\n%s", err, stdout, stderr)
	}

	judged := map[int]report.Claim{}
	for _, c := range result.Claims {
		judged[c.ID] = c
		t.Logf("claim %d %s: %s%s (%s)", c.ID, c.Status, c.Measured, c.Reason, c.Limit)
	}
	for _, id := range []int{10, 11, 12, 15, 17} {
		if judged[id].Status != report.Proven {
			t.Errorf("claim %d is %q, want proven", id, judged[id].Status)
		}
	}
	measured := map[string]report.Status{}
	for _, e := range result.Experiments {
		measured[e.Name] = e.Status
	}
	for _, name := range []string{"warm-up", "through-nodes", "scale-out", "server-leaves"} {
		if measured[name] != report.Measured {
			t.Errorf("experiment %s is %q, want measured", name, measured[name])
		}
	}

	want := short + " from " + archive + " (sha256:"
	if len(result.Strategies) != 1 || !strings.Contains(result.Strategies[0].Note, want) || !strings.Contains(result.Strategies[0].Note, "a stand-in: "+standIn) {
		t.Errorf("strategies %+v, want linkerd alone with a note that has %q and calls it a stand-in", result.Strategies, want)
	}
	var table bytes.Buffer
	if err := report.Table(&table, result, report.Style{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "a stand-in: "+standIn) {
		t.Errorf("the table does not call it a stand-in:\n%s", &table)
	}
	if t.Failed() {
		t.Logf("stderr:\n%s\ntable:\n%s", stderr, &table)
	}
}

// copyCheckout returns a copy of the checkout as it is, changes included. A
// cluster belongs to a path: that of the copy collides with no other.
func copyCheckout(t *testing.T) string {
	t.Helper()
	to, err := filepath.EvalSymlinks(t.TempDir()) // as the lab sees it
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	listed, err := list.Output()
	if err != nil {
		t.Fatalf("%s: %v: want a git checkout", list, err)
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but not yet for git
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// takenDown has the test end without a cluster of the checkout, whose directories
// it returns.
func takenDown(t *testing.T, cache, checkout string) dirs.Dirs {
	t.Helper()
	at := dirs.New(filepath.Join(cache, "grpc-lb"), checkout)
	t.Cleanup(func() {
		// The run takes its cluster down itself, unless it broke.
		if code, _, stderr := (call{dir: checkout, cache: cache, args: []string{"down"}, outlives: true}).run(t); code != 0 {
			t.Errorf("lab down: exit code %d, want 0; stderr:\n%s", code, stderr)
		}
		if !t.Failed() { // else the nodes' logs may say why
			if err := os.RemoveAll(at.Cluster); err != nil {
				t.Error(err)
			}
		}
	})
	return at
}

// wantGone verifies that nothing is left of a cluster but its logs.
func wantGone(t *testing.T, at dirs.Dirs) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(at.Cluster, "logs", "node-2")); err != nil {
		t.Errorf("the cluster was not where it is looked for: %v", err)
	}
	var left []string
	for _, pattern := range []string{
		at.Cluster + "/state.json", at.Cluster + "/kubeconfig", at.Cluster + "/nodes",
		"/sys/fs/cgroup/grpc-lb-" + at.ID, "/sys/fs/cgroup/*/grpc-lb-" + at.ID, // v2 and v1
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tables {
		// What has ended meanwhile is not left.
		if mounts, err := os.ReadFile(file); err == nil && bytes.Contains(mounts, []byte(at.Cluster)) {
			left = append(left, filepath.Dir(file))
		}
	}
	if len(left) > 0 {
		t.Errorf("left of the cluster: %v", left)
	}
}
