package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Every command, path and overlay in a workflow exists, and those that anyone may
// want to run are named by a page in the same words.
func TestWorkflowCommands(t *testing.T) {
	document := strings.ReplaceAll(readPage(t, "README.md")+readPage(t, "apps/lab/README.md")+readPage(t, ".github/CONTRIBUTING.md"), `"`, "") // commands are read without quotes
	for name, w := range workflows(t) {
		if len(w.On) == 0 {
			t.Errorf("%s: nothing starts it", name)
		}
		for event, on := range w.On {
			for _, p := range on.Paths {
				p, _, _ = strings.Cut(p, "*")
				if _, err := os.Stat(filepath.Join(repositoryRoot, p)); err != nil {
					t.Errorf("%s: %s starts it: %v", name, event, err)
				}
			}
		}
		for id, j := range w.Jobs {
			for _, problem := range jobProblems(t, j) {
				t.Errorf("%s: job %s: %s", name, id, problem)
			}
			if name == "images.yml" {
				continue
			}
			for _, c := range j.commands(t) {
				if line := c.documented(); !strings.Contains(document, line) {
					t.Errorf("%s: job %s runs `%s`, which neither README.md nor CONTRIBUTING.md names", name, id, line)
				}
			}
		}
	}
}

// A workflow that runs what does not exist is refused.
func TestWorkflowCommandsReject(t *testing.T) {
	for _, test := range []struct{ name, run, want string }{
		{name: "lab_command", run: "go run ./apps/lab rum", want: `unknown command "rum"`},
		{name: "lab_flag", run: "sudo env A=b go run ./apps/lab run --overlay l4", want: "unknown flag: --overlay"},
		{name: "overlay", run: "go run ./apps/lab run --only l4,l5", want: "unknown overlay l5"},
		{name: "package", run: "go test ./apps/none/...", want: "apps/none"},
		{name: "in_a_condition", run: "if [ -s x ]; then go test ./apps/none; fi", want: "apps/none"},
		{name: "in_a_substitution", run: `echo "$(go test ./apps/none)"`, want: "apps/none"},
		{name: "no_test", run: "go test ./apps/lab/internal/manifest -run Golten", want: "no test matches Golten"},
		{name: "module", run: "go tool -modfile=apps/lab/components/none/go.mod x", want: "components/none"},
		{name: "tool", run: "go tool -modfile=apps/lab/components/buf/go.mod buff lint", want: "no tool buff"},
		{name: "built_tool", run: `go -C apps/lab/components/ko build -o "$RUNNER_TEMP/ko" github.com/google/koo`, want: "no tool github.com/google/koo"},
		{name: "not_built", run: `"$RUNNER_TEMP/ko" build ./apps/echo-server`, want: "nothing before it made ko"},
		{name: "loop", run: `for app in server severe; do echo "./apps/echo-$app"; done`, want: "apps/echo-severe"},
		{name: "directory", run: "cd overlays/none && git commit", want: "overlays/none"},
		{name: "requirements", run: "pip3 install --requirement=apps/lab/components/x/requirements.txt", want: "components/x"},
		{name: "script", run: ".ci/ruin", want: ".ci/ruin"},
		{name: "no_program", run: "gitt diff", want: "gitt is on no runner"},
		{name: "not_installed", run: "cosign sign", want: "nothing before it installs cosign"},
	} {
		t.Run(test.name, func(t *testing.T) {
			problems := jobProblems(t, job{Steps: []step{{Run: test.run}}})
			if got := strings.Join(problems, "\n"); !strings.Contains(got, test.want) {
				t.Errorf("`%s`: problems %q, want one with %q", test.run, got, test.want)
			}
		})
	}
}

// What templates ask for can be run as well.
func TestTemplateCommands(t *testing.T) {
	asks := 0
	for _, pattern := range []string{"*.md", "ISSUE_TEMPLATE/*"} {
		files, err := filepath.Glob(filepath.Join(repositoryRoot, ".github", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile("go run ./apps/lab([^`<\n]*)").FindAllStringSubmatch(string(content), -1) {
				asks++
				if problem := commandProblem(m[1]); problem != "" {
					t.Errorf("%s names `go run ./apps/lab%s`: %s", file, m[1], problem)
				}
			}
		}
	}
	if asks < 3 {
		t.Errorf("%d templates ask for the lab's JSON, want 3", asks)
	}
}

// onRunners are the programs that GitHub's runners have, as far as they are used.
var onRunners = []string{"[", "cat", "cd", "chmod", "curl", "echo", "exit", "find", "export", "gh", "git", "jq", "pip3", "sed", "tee", "test", "xargs"}

// installers are the actions that bring a program.
var installers = map[string]string{"cosign": "sigstore/cosign-installer@"}

func (j job) commands(t *testing.T) []command {
	t.Helper()
	var all []command
	for _, s := range j.Steps {
		all = append(all, commands(t, s.Run)...)
	}
	return all
}

// jobProblems says what in a job does not exist.
func jobProblems(t *testing.T, j job) []string {
	t.Helper()
	repository, err := manifest.Find(repositoryRoot)
	if err != nil {
		t.Fatal(err)
	}
	overlays, err := repository.All()
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	made := map[string]bool{}
	for _, s := range j.Steps {
		for program, action := range installers {
			made[program] = made[program] || strings.HasPrefix(s.Uses, action)
		}
		for _, c := range commands(t, s.Run) {
			problem := c.problem(made)
			if args, isLab := c.lab(); isLab && problem == "" {
				problem = labProblem(args, overlays)
			}
			if problem != "" {
				problems = append(problems, fmt.Sprintf("`%s`: %s", strings.Join(c, " "), problem))
			}
			for _, word := range c {
				if _, file, ok := strings.Cut(word, "$RUNNER_TEMP/"); ok {
					made[strings.Split(file, "/")[0]] = true
				}
			}
		}
	}
	return problems
}

// lab returns the arguments that the lab gets if it is what is run.
func (c command) lab() ([]string, bool) {
	switch {
	case len(c) > 2 && c[0] == "go" && c[1] == "run" && c[2] == "./apps/lab":
		return c[3:], true
	case c[0] == "$RUNNER_TEMP/lab":
		return c[1:], true
	}
	return nil, false
}

func labProblem(args, overlays []string) string {
	line := strings.Join(args, " ")
	for i, a := range args {
		if i > 0 && (args[i-1] == "--only" || args[i-1] == "--require") && a != "$OVERLAY" {
			for name := range strings.SplitSeq(a, ",") {
				if !slices.Contains(overlays, name) {
					return "unknown overlay " + name
				}
			}
		}
	}
	return firstLine(commandProblem(strings.ReplaceAll(line, "$OVERLAY", "l4")))
}

// problem says why a command cannot be run, or "". made are the programs that the
// job has made before.
func (c command) problem(made map[string]bool) string {
	program, dir := c[0], "."
	if file, ok := strings.CutPrefix(program, "$RUNNER_TEMP/"); ok {
		if program = strings.Split(file, "/")[0]; !made[program] {
			return "nothing before it made " + program
		}
	} else if _, ok := installers[program]; ok {
		if !made[program] {
			return "nothing before it installs " + program
		}
	} else if program == "go" {
		if c[1] == "-C" {
			dir = c[2]
		}
		if problem := c.goProblem(dir); problem != "" {
			return problem
		}
	} else if !strings.Contains(program, "/") && !slices.Contains(onRunners, program) {
		return program + " is on no runner"
	}
	for i, word := range c {
		if i > 1 && c[i-1] == "-C" {
			continue
		}
		if _, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(word, "-") {
			word = value
		}
		if problem := pathProblem(dir, word); problem != "" {
			return problem
		}
	}
	return ""
}

// goProblem says why the go command would refuse the call.
func (c command) goProblem(dir string) string {
	module := filepath.Join(dir, "go.mod")
	args := c[1:]
	if args[0] == "-C" {
		args = args[2:]
	}
	var rest []string
	for i, a := range args {
		if file, ok := strings.CutPrefix(a, "-modfile="); ok {
			module = filepath.Join(dir, file)
		} else if a == "-run" {
			files, _ := filepath.Glob(filepath.Join(repositoryRoot, rest[len(rest)-1], "*_test.go"))
			if !slices.ContainsFunc(files, func(file string) bool {
				content, err := os.ReadFile(file)
				return err == nil && regexp.MustCompile(`(?m)^func Test\w*`+args[i+1]).Match(content)
			}) {
				return "no test matches " + args[i+1]
			}
		} else if !strings.HasPrefix(a, "-") && (i == 0 || args[i-1] != "-o") {
			rest = append(rest, a)
		}
	}
	known, err := tools(module)
	if err != nil {
		return err.Error()
	}
	if tool := rest[len(rest)-1]; rest[0] == "build" && !strings.HasPrefix(tool, "./") && !slices.Contains(known, tool) {
		return "no tool " + tool
	}
	if rest[0] == "tool" && !slices.ContainsFunc(known, func(tool string) bool { return path.Base(tool) == rest[1] }) {
		return "no tool " + rest[1]
	}
	return ""
}

// tools returns the packages that a go.mod has as tools.
func tools(file string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(repositoryRoot, file))
	if err != nil {
		return nil, err
	}
	module, err := modfile.Parse(file, content, nil)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, tool := range module.Tool {
		own := func(r *modfile.Replace) bool {
			return r.New.Version == "" && strings.HasPrefix(tool.Path, r.Old.Path+"/")
		}
		if !slices.ContainsFunc(module.Replace, own) { // what is of this repository has no version
			paths = append(paths, tool.Path)
		}
	}
	return paths, nil
}

// pathProblem says whether a word that looks like a path of this repository leads
// nowhere from dir.
func pathProblem(dir, word string) string {
	word, _, _ = strings.Cut(word, "*")
	word = strings.TrimSuffix(word, "...")
	if strings.Contains(word, "$") || !regexp.MustCompile(`^(\.\./)*(\./)?(apps|argocd|base|overlays|proto|\.ci|\.github|\.ko\.yaml|go\.\w+)(/|$)`).MatchString(word) {
		return ""
	}
	if _, err := os.Stat(filepath.Join(repositoryRoot, dir, word)); err != nil {
		return err.Error()
	}
	return ""
}

// documented is how a page names a command; "" is one that it need not name.
func (c command) documented() string {
	if args, isLab := c.lab(); isLab {
		return "go run ./apps/lab " + args[0]
	}
	line := strings.Join(c, " ")
	switch {
	case c[0] == "go" && !slices.Contains(c, "build"), strings.HasPrefix(c[0], ".ci/"):
		return line
	case strings.HasPrefix(c[0], "$RUNNER_TEMP/"):
		return path.Base(line[:len(c[0])]) + line[len(c[0]):]
	}
	return ""
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
