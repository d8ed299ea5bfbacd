package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// workflow is the part of a GitHub workflow that the tests are about.
type workflow struct {
	text        []byte
	On          events `json:"true"` // which "on" is in YAML 1.1
	Concurrency *struct{}
	Jobs        map[string]job
}

// events are what starts a workflow; they can be written as a list.
type events map[string]struct{ Paths []string }

func (e *events) UnmarshalJSON(content []byte) error {
	var names []string
	if err := json.Unmarshal(content, &names); err != nil {
		return json.Unmarshal(content, (*map[string]struct{ Paths []string })(e))
	}
	*e = events{}
	for _, name := range names {
		(*e)[name] = struct{ Paths []string }{}
	}
	return nil
}

type job struct {
	TimeoutMinutes int `json:"timeout-minutes"`
	Steps          []step
}

type step struct {
	Name, Uses, Run string
}

// step returns the script of a job's step.
func (w workflow) step(t *testing.T, job, name string) string {
	t.Helper()
	for _, s := range w.Jobs[job].Steps {
		if s.Name == name {
			return s.Run
		}
	}
	t.Fatalf("job %s has no step %q", job, name)
	return ""
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repositoryRoot, ".github/workflows/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	all := map[string]workflow{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = readWorkflow(t, content)
	}
	return all
}

func readWorkflow(t *testing.T, content []byte) workflow {
	t.Helper()
	w := workflow{text: content}
	if err := yaml.Unmarshal(content, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// breach is a change of a file that breaks one rule.
type breach struct{ name, old, new, want string }

// wantViolations fails the test where a breach is not told.
func wantViolations(t *testing.T, good []byte, breaches []breach, violations func(t *testing.T, content []byte) []string) {
	t.Helper()
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			got := strings.Join(violations(t, mutate(t, good, b.old, b.new)), "\n")
			if !strings.Contains(got, b.want) {
				t.Errorf("violations %q, want one with %q", got, b.want)
			}
		})
	}
}

// mutate replaces old, which must occur.
func mutate(t *testing.T, content []byte, old, replacement string) []byte {
	t.Helper()
	if !bytes.Contains(content, []byte(old)) {
		t.Fatalf("there is no %q to replace", old)
	}
	return bytes.ReplaceAll(content, []byte(old), []byte(replacement))
}

// The workflows hold to what neither actionlint nor zizmor, which CI runs, looks at.
func TestWorkflows(t *testing.T) {
	for name, w := range workflows(t) {
		for _, violation := range w.violations(t) {
			t.Errorf("%s: %s", name, violation)
		}
	}
}

// A workflow that breaks one rule is refused.
func TestWorkflowsReject(t *testing.T) {
	good := workflows(t)["ci.yml"].text
	wantViolations(t, good, []breach{
		{name: "time_out", old: "    timeout-minutes: 150 # a private repository's runners have 2 cores\n", new: "", want: "job builtin has no timeout-minutes"},
		{name: "concurrency", old: "concurrency:", new: "env:", want: "no concurrency"},
		{name: "path_filter", old: "on:\n  pull_request:\n", new: "on:\n  pull_request: {paths: [base/**]}\n", want: "a required check that a path filter leaves out waits for ever"},
		{name: "shared_cache", old: "uses: ./.github/actions/go\n      - run: go run ./apps/lab check", new: "uses: actions/setup-go@b7ad1dad31e06c5925ef5d2fc7ad053ef454303e # v7.0.0", want: "job check: setup-go beside the action go"},
		{name: "redirection_into_the_tree", old: `>"$RUNNER_TEMP/result.json"`, new: ">result.json", want: "job kind writes result.json, expected a file in $RUNNER_TEMP"},
		{name: "tee_into_the_tree", old: `tee "$RUNNER_TEMP/ci.log"`, new: "tee ci.log", want: "job builtin writes ci.log, expected a file in $RUNNER_TEMP"},
	}, func(t *testing.T, content []byte) []string { t.Helper(); return readWorkflow(t, content).violations(t) })
}

var expression = regexp.MustCompile(`\$\{\{.*?\}\}`)

func (w workflow) violations(t *testing.T) []string {
	t.Helper()
	var violations []string
	if w.Concurrency == nil {
		violations = append(violations, "no concurrency")
	}
	if len(w.On["pull_request"].Paths) > 0 {
		violations = append(violations, "pull_request has paths: a required check that a path filter leaves out waits for ever")
	}
	for name, job := range w.Jobs {
		if job.TimeoutMinutes == 0 {
			violations = append(violations, fmt.Sprintf("job %s has no timeout-minutes", name))
		}
		for _, step := range job.Steps {
			script := expression.ReplaceAllString(step.Run, "expression")
			for _, file := range written(t, script) {
				if !strings.HasPrefix(file, "$RUNNER_TEMP/") && !slices.Contains([]string{"$GITHUB_OUTPUT", "$GITHUB_STEP_SUMMARY", "/dev/null"}, file) {
					violations = append(violations, fmt.Sprintf("job %s writes %s, expected a file in $RUNNER_TEMP: the tree must stay clean", name, file))
				}
			}
			if strings.HasPrefix(step.Uses, "actions/setup-go@") {
				violations = append(violations, fmt.Sprintf("job %s: setup-go beside the action go: all jobs would share one cache", name))
			}
		}
	}
	return violations
}

// The matrix of the jobs on kind is what lies in overlays/.
func TestWorkflowMatrix(t *testing.T) {
	output := filepath.Join(t.TempDir(), "output")
	if out, err := script(t, repositoryRoot, workflows(t)["ci.yml"].step(t, "overlays", "list"), "GITHUB_OUTPUT="+output); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	written, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(written), "names=")), &got); err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	want, err := repository.List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("matrix (-want +got):\n%s", diff)
	}
}

// script runs a step as a runner does.
func script(t *testing.T, dir, text string, env ...string) (string, error) {
	t.Helper()
	for _, program := range []string{"bash", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("runners have %s, this machine has not: %v", program, err)
		}
	}
	bash := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text)
	bash.Dir, bash.Env = dir, append(os.Environ(), env...)
	out, err := bash.CombinedOutput()
	return string(out), err
}
