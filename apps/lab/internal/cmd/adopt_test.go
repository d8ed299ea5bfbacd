package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// adoption is ADOPT.md's way to a service of one's own: the commands of each of
// its five steps, with other names where there are some.
type adoption struct {
	steps [5][]string
	names map[string]string // by variable
	// released matches what a release sets: registry, tag and digests.
	released string
}

// assignment is a shell variable of the first step and its value.
var assignment = regexp.MustCompile(`\b([a-z]+)=(\S+)`)

// readAdoption takes the commands out of ADOPT.md, where they are indented.
func readAdoption(t *testing.T, names map[string]string) adoption {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "overlays/ADOPT.md"))
	if err != nil {
		t.Fatal(err)
	}
	a := adoption{names: map[string]string{}, released: `sha256:|\b` + regexp.QuoteMeta(nextTag(t)) + `\b`}
	for _, i := range releaseOf(t, root) {
		a.released += "|" + regexp.QuoteMeta(path.Dir(i.NewName)+"/")
	}
	for step, text := range strings.Split(string(content), "\n**")[1:] {
		if step >= len(a.steps) || text[0] != byte('1'+step) {
			t.Fatalf("ADOPT.md's step %d begins with %.20q, want five that are numbered", step+1, text)
		}
		for line := range strings.Lines(text) {
			if command, ok := strings.CutPrefix(line, "    "); ok {
				a.steps[step] = append(a.steps[step], command)
			}
		}
	}
	for i, line := range a.steps[0] {
		a.steps[0][i] = assignment.ReplaceAllStringFunc(line, func(assigned string) string {
			name, value, _ := strings.Cut(assigned, "=")
			if other, ok := names[name]; ok {
				value = other
			}
			a.names[name] = value
			return name + "=" + value
		})
	}
	for name := range names {
		if a.names[name] == "" {
			t.Fatalf("ADOPT.md's first step sets no %s", name)
		}
	}
	return a
}

// bash runs steps, and last a command of its own, in one shell.
func (a adoption) bash(t *testing.T, dir, cache string, last string, steps ...int) (code int, stdout, stderr string) {
	t.Helper()
	var script strings.Builder
	for name, value := range a.names {
		script.WriteString(name + "=" + value + "\n")
	}
	for _, n := range steps {
		script.WriteString(strings.Join(a.steps[n-1], ""))
	}
	script.WriteString(last)
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// follow takes steps in a tree; their commands must pass.
func (a adoption) follow(t *testing.T, dir string, steps ...int) {
	t.Helper()
	if code, stdout, stderr := a.bash(t, dir, t.TempDir(), "", steps...); code != 0 {
		t.Fatalf("ADOPT.md's steps %v: exit code %d:\n%s%s", steps, code, stdout, stderr)
	}
}

// prove runs the command of the last step that begins so.
func (a adoption) prove(t *testing.T, dir, cache, begin, more string) (code int, stdout, stderr string) {
	t.Helper()
	const program = "go run ./apps/lab "
	i := slices.IndexFunc(a.steps[4], func(line string) bool { return strings.HasPrefix(line, program+begin) })
	if i < 0 {
		t.Fatalf("ADOPT.md's last step has no %s%s", program, begin)
	}
	return a.bash(t, dir, cache, "exec "+lab+" "+strings.TrimSpace(strings.TrimPrefix(a.steps[4][i], program))+more)
}

// old is what is left in a text of what it was copied from. Files keep their
// names.
func (a adoption) old(text string) []string {
	var all []string
	like := regexp.QuoteMeta(a.names["like"])
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, ".yaml\n") {
			all = append(all, regexp.MustCompile(`echo-(?:server|client)|EchoService|(?:grpc-lb-|overlays/)`+like+`\b|`+a.released+`|8080|\.\./\.\./base`).FindAllString(line, -1)...)
		}
	}
	return all
}

// oldFiles is what is left in the files of the overlay.
func (a adoption) oldFiles(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "overlays", a.names["name"]), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		all = append(all, a.old(string(content))...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// others are names of which ADOPT.md has none.
func others(like string) map[string]string {
	return map[string]string{
		"name": "till", "like": like, "server": "till", "client": "till-web", "port": "9443",
		"grpc": "till.v2.Till", "registry": "registry.example.com/a/b", "tag": "1.2.3",
	}
}

// strategies returns the overlays of this repository.
func strategies() []string {
	var names []string
	for _, s := range strategy.All() {
		if !slices.ContainsFunc(manifest.Variants, func(v manifest.Variant) bool { return v.Name == s.Name }) {
			names = append(names, s.Name)
		}
	}
	return names
}

// nextTag is that of a release after the one that this checkout deploys.
func nextTag(t *testing.T) string {
	t.Helper()
	return releaseOf(t, root)[0].NewTag + "-next"
}

// pinned is a repository that deploys a release with digests.
func pinned(t *testing.T) string {
	t.Helper()
	dir := repository(t)
	if code, _, stderr := (call{dir: dir, args: append([]string{"release", nextTag(t)}, digests(nextTag(t))...)}).run(t); code != 0 {
		t.Fatalf("lab release: exit code %d: %s", code, stderr)
	}
	commit(t, dir)
	return dir
}

// digests gives each program one that no other release has, as `lab release` takes
// them.
func digests(tag string) (all []string) {
	for _, program := range image.Programs {
		all = append(all, fmt.Sprintf("%s=sha256:%x", program, sha256.Sum256([]byte(program+tag))))
	}
	return all
}

// Who follows ADOPT.md's steps, whatever the names and the strategy, has an overlay
// to which check has no objection and that says what it follows, a rendering in
// which nothing has an old name, and a difference of nothing but what is new.
func TestAdopt(t *testing.T) {
	tests := map[string]map[string]string{"as_written": nil}
	for _, name := range strategies() {
		tests[name] = others(name)
	}
	for name, names := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, dir := readAdoption(t, names), pinned(t)
			a.follow(t, dir, 1, 2, 4)
			code, stdout, stderr := a.prove(t, dir, t.TempDir(), "check", "")
			if want := a.names["name"] + " follows " + a.names["like"] + ":"; code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("check: exit code %d, want 0 and %q:\n%s%s", code, want, stdout, stderr)
			}
			code, stdout, stderr = a.prove(t, dir, t.TempDir(), "render", "")
			if code != 0 {
				t.Errorf("render: exit code %d, want 0:\n%s", code, stderr)
			}
			if old := append(a.old(stdout), a.oldFiles(t, dir)...); len(old) > 0 {
				t.Errorf("old names are left: %q", old)
			}
			namespace := "grpc-lb-" + a.names["name"]
			for _, want := range []string{
				"kind: Namespace\n", "  name: " + namespace + "\n", "  name: " + a.names["server"] + "\n  namespace: " + namespace + "\n",
				"image: " + a.names["registry"] + "/" + a.names["server"] + ":" + a.names["tag"] + "\n",
				"image: " + a.names["registry"] + "/" + a.names["client"], "containerPort: " + a.names["port"] + "\n", "service: " + a.names["grpc"] + "\n",
			} {
				if !strings.Contains(stdout, want) {
					t.Errorf("render: stdout lacks %q", want)
				}
			}
			code, stdout, stderr = a.prove(t, dir, t.TempDir(), "diff", " -o json")
			var differs struct {
				Overlays []struct {
					Name, Change string
					Objects      []struct{ Kind, Name, Change string }
				}
			}
			if err := json.Unmarshal([]byte(stdout), &differs); err != nil || code != 1 || len(differs.Overlays) != 1 {
				t.Fatalf("diff: exit code %d, want 1 and one overlay; %v:\n%s%s", code, err, stdout, stderr)
			}
			if o := differs.Overlays[0]; o.Name != a.names["name"] || o.Change != "added" || len(o.Objects) < 7 {
				t.Errorf("diff: %s is %s with %d objects, want %s added with all it has", o.Name, o.Change, len(o.Objects), a.names["name"])
			}
			addPolicies(t, filepath.Join(dir, "overlays", a.names["name"], "kustomization.yaml"))
			if code, stdout, stderr = a.prove(t, dir, t.TempDir(), "check", ""); code != 0 {
				t.Errorf("check with the folder network-policy: exit code %d, want 0:\n%s%s", code, stdout, stderr)
			}
		})
	}
}

// addPolicies adds the one line that turns an overlay's NetworkPolicies on.
func addPolicies(t *testing.T, file string) {
	t.Helper()
	const list, line = "components:\n", "  - network-policy\n"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(content), list)
	if err := os.WriteFile(file, []byte(before+list+line+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Whoever leaves a step or a part of one out is told what is missing.
func TestAdoptLeavingOut(t *testing.T) {
	without := func(step int, part string) func(*adoption) {
		return func(a *adoption) {
			i := slices.IndexFunc(a.steps[step-1], func(line string) bool { return strings.Contains(line, part) })
			a.steps[step-1] = slices.Delete(a.steps[step-1], i, i+1)
		}
	}
	for _, test := range []struct {
		name  string
		leave func(*adoption)
		want  string // on stdout
	}{
		{name: "base", leave: without(1, "cp -r base"), want: "overlays/shop/base: no such file or directory"},
		{name: "client_of_xds", leave: without(2, "echo-client-xds"), want: "image shop-client-xds changes nothing (entry-effect)"},
		{name: "digests", leave: without(2, "digest:"), want: "has the digest of echo-server " + nextTag(t) + " (release)"},
		{name: "names", leave: func(a *adoption) { a.steps[1] = nil }, want: `overlays/shop/kustomization.yaml: Namespace/grpc-lb-k8s-api: Namespace "grpc-lb-k8s-api", expected "grpc-lb-shop" (namespace)`},
		{name: "name_of_the_server", leave: without(2, "echo-server"), want: "argocd/shop.yaml: Application/grpc-lb-shop: ignoreDifferences is [{apps Deployment shop-server"},
		{name: "application", leave: func(a *adoption) { a.steps[3] = nil }, want: "no Application/grpc-lb-shop for overlays/shop (argocd-applications)"},
		{name: "entry_of_the_application", leave: without(4, "kustomization.yaml"), want: "no Application/grpc-lb-shop for overlays/shop (argocd-applications)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, dir := readAdoption(t, nil), pinned(t)
			test.leave(&a)
			a.follow(t, dir, 1, 2, 4)
			code, stdout, stderr := a.prove(t, dir, t.TempDir(), "check", "")
			if code != 1 || !strings.Contains(stdout, test.want) {
				t.Errorf("check: exit code %d, want 1 and %q:\n%s%s", code, test.want, stdout, stderr)
			}
		})
	}
	// Each line of the second step is needed.
	for i, line := range readAdoption(t, nil).steps[1] {
		if !strings.HasPrefix(strings.TrimSpace(line), "s") || strings.HasPrefix(line, "sed") || strings.Contains(line, "$(find") {
			continue
		}
		t.Run(strings.TrimSpace(line), func(t *testing.T) {
			t.Parallel()
			a, dir := readAdoption(t, nil), pinned(t)
			a.steps[1] = slices.Delete(a.steps[1], i, i+1)
			a.follow(t, dir, 1, 2, 4)
			if old := a.oldFiles(t, dir); len(old) == 0 {
				t.Error("nothing old is left without it")
			}
		})
	}
}

// A service that was adopted so runs on a cluster, by the last command that ADOPT.md
// gives: echo's programs under other names, in images and a namespace of their
// own. The strategy's claims hold for it, every client is answered evenly, and
// nothing is left of the cluster, which is that of a copy of this checkout.
func TestAdoptRun(t *testing.T) {
	if os.Getenv("LAB_E2E") != "1" {
		t.Skip("boots a cluster: run as root `LAB_E2E=1 go test ./apps/lab/internal/cmd -run TestAdoptRun -v -timeout 60m`: 2 minutes where `lab run` has built its components before")
	}
	cache, err := os.UserCacheDir() // with the components
	if err != nil {
		t.Fatal(err)
	}
	names := others("k8s-api")
	names["grpc"] = "com.example.grpc.EchoService" // which echo's programs speak
	a, checkout := readAdoption(t, names), copyCheckout(t)
	a.follow(t, checkout, 1, 2, 4)
	for _, part := range []string{"server", "client"} {
		pack(t, filepath.Join(checkout, part+".tar"), a.names["registry"]+"/"+a.names[part]+":"+a.names["tag"], "../../../echo-"+part, nil)
	}
	dirs := takenDown(t, cache, checkout)
	code, stdout, stderr := a.prove(t, checkout, cache, "run", " --cluster builtin -o json")
	if code != 0 {
		t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
	}
	wantGone(t, dirs)
	var result report.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("stdout is not JSON: %v\n%s\nstderr:\n%s", err, stdout, stderr)
	}

	var proven []int
	for _, c := range result.Claims {
		t.Logf("claim %d %s %s: %s%s (%s)", c.ID, c.Strategy, c.Status, c.Measured, c.Reason, c.Limit)
		if c.Strategy == "till" && c.Status == report.Proven {
			proven = append(proven, c.ID)
		}
	}
	repository, err := manifest.Find(checkout)
	if err != nil {
		t.Fatal(err)
	}
	followed, err := strategy.Followed(repository, "till")
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for _, c := range followed.Claims {
		if !c.Own {
			want = append(want, c.ID)
		}
	}
	if followed.Name != "k8s-api" || !slices.Equal(proven, want) {
		t.Errorf("claims %v are proven, want those of k8s-api, %v of %s", proven, want, followed.Name)
	}
	if len(result.Strategies) != 1 || !strings.Contains(result.Strategies[0].Note, "it follows k8s-api; registry.example.com/a/b/till") {
		t.Fatalf("strategies %+v, want till alone, with what it follows and its images", result.Strategies)
	}
	for _, c := range result.Strategies[0].Spread {
		if c.Jain < .999 || !strings.HasPrefix(c.Client, "till-web-") || len(c.Servers) != 3 {
			t.Errorf("%s was answered by %v (Jain %.3f), want evenly by three servers", c.Client, c.Servers, c.Jain)
		}
	}
	if len(result.Strategies[0].Spread) != 3 {
		t.Errorf("%d clients were answered, want 3", len(result.Strategies[0].Spread))
	}
}
