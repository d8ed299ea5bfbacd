package overlay_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// workflow is the part of a GitHub workflow that the house rules are about.
type workflow struct {
	Permissions *map[string]string `json:"permissions"`
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
	good, err := os.ReadFile(filepath.Join(checkout(t).Root(), ".github/workflows/test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{name: "permissions", old: "permissions: {}", new: "permissions: {contents: write}", want: "top-level permissions"},
		{name: "default_permissions", old: "permissions: {}\n", new: "", want: "top-level permissions"},
		{name: "job_permissions", old: "    permissions:\n      contents: read\n", new: "", want: "job ci states no permissions"},
		{name: "tag", old: "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", new: "@v7", want: "expected a commit and a version comment"},
		{name: "no_version", old: " # v7.0.1", new: "", want: "expected a commit and a version comment"},
		{name: "credentials", old: "persist-credentials: false", new: "fetch-depth: 1", want: "persist-credentials"},
		{name: "time_out", old: "    timeout-minutes: 90\n", new: "", want: "job ci has no timeout-minutes"},
		{name: "expression", old: ".ci/run", new: "echo ${{ github.head_ref }}", want: "an expression inside run:"},
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
