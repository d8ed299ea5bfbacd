package overlay_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// workflow is the part of a GitHub workflow that the house rules are about.
type workflow struct {
	On          map[string]any     `json:"true"` // which "on" is in YAML 1.1
	Permissions *map[string]string `json:"permissions"`
	Concurrency *struct{}          `json:"concurrency"`
	Jobs        map[string]struct {
		TimeoutMinutes int                `json:"timeout-minutes"`
		Permissions    *map[string]string `json:"permissions"`
		Steps          []struct {
			Uses string         `json:"uses"`
			Run  string         `json:"run"`
			With map[string]any `json:"with"`
		} `json:"steps"`
	} `json:"jobs"`
}

// The workflows are valid, and least privilege and pinning hold in each.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(checkout(t).Root(), ".github/workflows/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, violation := range badWorkflow(content) {
			t.Errorf("%s: %s", filepath.Base(file), violation)
		}
	}
	if out, err := actionlint(t, files...); err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}

// A workflow that breaks one rule is refused.
func TestWorkflowsReject(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(checkout(t).Root(), ".github/workflows/ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{name: "permissions", old: "permissions: {}", new: "permissions: {contents: write}", want: "top-level permissions"},
		{name: "default_permissions", old: "permissions: {}\n", new: "", want: "top-level permissions"},
		{name: "job_permissions", old: "    permissions:\n      contents: read\n", new: "", want: "job lint states no permissions"},
		{name: "tag", old: "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", new: "@v7", want: "expected a commit and a version comment"},
		{name: "no_version", old: " # v7.0.1", new: "", want: "expected a commit and a version comment"},
		{name: "credentials", old: "persist-credentials: false", new: "lfs: false", want: "persist-credentials"},
		{name: "time_out", old: "    timeout-minutes: 90\n", new: "", want: "job builtin has no timeout-minutes"},
		{name: "expression", old: ".ci/run", new: "echo ${{ github.head_ref }}", want: "an expression inside run:"},
		{name: "concurrency", old: "concurrency:", new: "env:", want: "no concurrency"},
		{name: "trigger", old: "on:\n  pull_request:", new: "on:\n  pull_request_target:", want: "pull_request_target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			violations := badWorkflow(mutate(t, good, test.old, test.new))
			rejected(t, fmt.Errorf("%s", strings.Join(violations, "\n")), test.want)
		})
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, mutate(t, good, "runs-on", "run-on"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := actionlint(t, broken)
	if err == nil || !strings.Contains(out, `unexpected key "run-on"`) {
		t.Errorf("actionlint accepted run-on: %v\n%s", err, out)
	}
}

// actionlint runs the pinned actionlint, without the linters of other languages
// that it would call where a machine happens to have them.
func actionlint(t *testing.T, files ...string) (string, error) {
	t.Helper()
	module := filepath.Join(checkout(t).Root(), "apps/lab/components/actionlint")
	out, err := exec.Command("go", append([]string{"-C", module, "tool", "actionlint", "-shellcheck=", "-pyflakes="}, files...)...).CombinedOutput()
	return string(out), err
}

var (
	uses   = regexp.MustCompile(`(?m)^\s*(?:- )?uses: (.*)$`)
	pinned = regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d`)
)

func badWorkflow(content []byte) []string {
	var w workflow
	if err := yaml.Unmarshal(content, &w); err != nil {
		return []string{err.Error()}
	}
	var violations []string
	if w.Permissions == nil || len(*w.Permissions) > 0 {
		violations = append(violations, "top-level permissions, expected {}")
	}
	if w.Concurrency == nil {
		violations = append(violations, "no concurrency")
	}
	if _, ok := w.On["pull_request_target"]; ok {
		violations = append(violations, "pull_request_target gives a fork's code this repository's rights")
	}
	for _, match := range uses.FindAllSubmatch(content, -1) {
		if !pinned.Match(match[1]) {
			violations = append(violations, fmt.Sprintf("uses %s, expected a commit and a version comment", match[1]))
		}
	}
	for name, job := range w.Jobs {
		if job.TimeoutMinutes == 0 {
			violations = append(violations, fmt.Sprintf("job %s has no timeout-minutes", name))
		}
		if job.Permissions == nil {
			violations = append(violations, fmt.Sprintf("job %s states no permissions", name))
		}
		for _, step := range job.Steps {
			if strings.Contains(step.Run, "${{") {
				violations = append(violations, fmt.Sprintf("job %s: an expression inside run: %s", name, step.Run))
			}
			if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
				violations = append(violations, fmt.Sprintf("job %s: checkout without persist-credentials: false", name))
			}
		}
	}
	return violations
}

// dependabotUpdate is one entry of dependabot's configuration, as far as it says what is
// watched.
type dependabotUpdate struct {
	Ecosystem   string   `json:"package-ecosystem"`
	Directory   string   `json:"directory"`
	Directories []string `json:"directories"`
	Cooldown    struct {
		Days int `json:"default-days"`
	} `json:"cooldown"`
	Allow []struct {
		Name string `json:"dependency-name"`
	} `json:"allow"`
}

// watches says whether the update is about a directory, "" for the root.
func (u dependabotUpdate) watches(t *testing.T, ecosystem, dir string) bool {
	t.Helper()
	return u.Ecosystem == ecosystem && slices.ContainsFunc(append(u.Directories, u.Directory), func(pattern string) bool {
		matches, err := path.Match(strings.TrimSuffix(pattern, "/"), dir)
		if err != nil {
			t.Fatal(err)
		}
		return matches && pattern != ""
	})
}

// allows says whether the update is about the module that a tool comes from.
func (u dependabotUpdate) allows(tool string) bool {
	for _, a := range u.Allow {
		if a.Name != "" && strings.HasPrefix(tool+"/", a.Name+"/") {
			return true
		}
	}
	return false
}

// Dependabot watches every Go module, every list of wheels and the actions, each
// with a cooldown, and in the modules of tools what the tools come from.
func TestDependabot(t *testing.T) {
	root := checkout(t).Root()
	content, err := os.ReadFile(filepath.Join(root, ".github/dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]string{"gomod": nil, "pip": nil, "github-actions": {""}}
	err = filepath.WalkDir(root, func(file string, _ os.DirEntry, err error) error {
		dir, _ := strings.CutPrefix(filepath.Dir(file), root)
		switch filepath.Base(file) {
		case ".git":
			return filepath.SkipDir
		case "go.mod":
			if !versioned.MatchString(dir) { // what is named by its version stays there
				files["gomod"] = append(files["gomod"], dir)
			}
		case "requirements.txt":
			files["pip"] = append(files["pip"], dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files["gomod"]) < 2 || len(files["pip"]) < 1 {
		t.Fatalf("found only %v", files)
	}
	for _, violation := range unwatched(t, content, root, files) {
		t.Error(violation)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{name: "module", old: "/apps/lab/components/*", new: "/apps/lab/components/ko", want: "gomod of /apps/lab/components/buf is not watched"},
		{name: "wheel", old: "/apps/lab/components/zizmor", new: "/apps/lab/components/x", want: "pip of /apps/lab/components/zizmor is not watched"},
		{name: "actions", old: "github-actions", new: "docker", want: "github-actions of / is not watched"},
		{name: "cooldown", old: "default-days: 7", new: "default-days: 0", want: "has no cooldown"},
		{name: "tool", old: "dependency-name: github.com/google/ko", new: "dependency-name: x", want: "/apps/lab/components/ko: its tools come from none that is allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			rejected(t, fmt.Errorf("%s", strings.Join(unwatched(t, mutate(t, content, test.old, test.new), root, files), "\n")), test.want)
		})
	}
}

// unwatched says which of the directories, by ecosystem, the configuration misses.
func unwatched(t *testing.T, content []byte, root string, files map[string][]string) []string {
	t.Helper()
	var config struct {
		Updates []dependabotUpdate `json:"updates"`
	}
	if err := yaml.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	var violations []string
	for ecosystem, dirs := range files {
		for _, dir := range dirs {
			module, _ := os.ReadFile(filepath.Join(root, dir, "go.mod")) // absent elsewhere
			watched := false
			for _, u := range config.Updates {
				if !u.watches(t, ecosystem, dir) {
					continue
				}
				watched = true
				if u.Cooldown.Days == 0 {
					violations = append(violations, fmt.Sprintf("%s of %s/ has no cooldown", ecosystem, dir))
				}
				for _, tool := range tools.FindAllSubmatch(module, -1) {
					if !u.allows(string(tool[1])) {
						violations = append(violations, fmt.Sprintf("%s: its tools come from none that is allowed: %s", dir, tool[1]))
					}
				}
			}
			if !watched {
				violations = append(violations, fmt.Sprintf("%s of %s is not watched", ecosystem, cmp.Or(dir, "/")))
			}
		}
	}
	return violations
}

var versioned = regexp.MustCompile(`/v[0-9.]+$`)

// tools are the tool directives of a go.mod, in a block or not: what has a version
// is a requirement.
var tools = regexp.MustCompile(`(?m)^(?:tool |\t)([^\s(]+/\S+)$`)
