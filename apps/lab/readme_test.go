package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repositoryRoot is where README.md and what it names lie.
const repositoryRoot = "../.."

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repositoryRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// commandProblem says why the lab would refuse a command line, or "".
func commandProblem(line string) string {
	cmd, rest, err := newRoot().Find(strings.Fields(line))
	if err != nil {
		return err.Error()
	}
	if cmd.DisableFlagParsing {
		return ""
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err.Error()
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err.Error()
	}
	return ""
}

// Every lab command that README names is one that the lab takes.
func TestReadmeCommands(t *testing.T) {
	commands := regexp.MustCompile("go run \\./apps/lab([^`#\n|&>]*)").FindAllStringSubmatch(readme(t), -1)
	if len(commands) < 8 {
		t.Fatalf("%d lab commands are in README.md, want at least 8", len(commands))
	}
	for _, c := range commands {
		line := strings.ReplaceAll(c[1], " <overlay", " l4")
		if problem := commandProblem(line); problem != "" {
			t.Errorf("README names `go run ./apps/lab%s`: %s", c[1], problem)
		}
	}
	for _, wrong := range []string{"rum", "run --overlay l4", "status now"} {
		if commandProblem(wrong) == "" {
			t.Errorf("`lab %s` passes for a command", wrong)
		}
	}
}

// Every file and folder that README names exists, and every overlay has its
// row in the table and its section.
func TestReadmePaths(t *testing.T) {
	text := readme(t)
	paths := regexp.MustCompile(`\b(?:apps|base|overlays|argocd|proto)/[\w./-]*\w`).FindAllString(text, -1)
	for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
		paths = append(paths, m[1])
	}
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		if _, err := os.Stat(filepath.Join(repositoryRoot, p)); err != nil {
			t.Errorf("README names %s: %v", p, err)
		}
	}
	overlays, err := os.ReadDir(filepath.Join(repositoryRoot, "overlays"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range overlays {
		for _, want := range []string{"| [`" + o.Name() + "`](overlays/", "\n### " + o.Name() + ": ", "`kubectl apply -k overlays/" + o.Name() + "`"} {
			if !strings.Contains(text, want) {
				t.Errorf("README lacks %q", want)
			}
		}
	}
}
