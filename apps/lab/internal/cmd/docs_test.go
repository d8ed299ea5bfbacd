package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/docs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

const repositoryRoot = "../../../.."

// pages returns the documents that people read, by their path in the checkout.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"README.md", "*/README.md", "*/*/README.md", "overlays/*.md", ".github/*.md"} {
		files, err := filepath.Glob(filepath.Join(repositoryRoot, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no page %s: %v", pattern, err)
		}
		for _, file := range files {
			name, err := filepath.Rel(repositoryRoot, file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.ToSlash(name)] = readPage(t, name)
		}
	}
	return all
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repositoryRoot, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// commandProblem says why the lab would refuse a command line, or "".
func commandProblem(line string) string {
	root := newRoot()
	root.InitDefaultCompletionCmd() // which Execute adds
	cmd, rest, err := root.Find(strings.Fields(line))
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
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err.Error()
	}
	return ""
}

// Every lab command that a page names is one that the lab takes.
func TestPageCommands(t *testing.T) {
	found := 0
	for name, text := range pages(t) {
		for _, c := range regexp.MustCompile("go run \\./apps/lab([^`#\n|&>]*)").FindAllStringSubmatch(text, -1) {
			found++
			if problem := commandProblem(c[1]); problem != "" {
				t.Errorf("%s names `go run ./apps/lab%s`: %s", name, c[1], problem)
			}
		}
	}
	if found < 30 {
		t.Errorf("%d lab commands are in the pages, want at least 30: the pattern misses them", found)
	}
	for _, wrong := range []string{"rum", "run --overlay l4", "status now", "fork URL"} {
		if commandProblem(wrong) == "" {
			t.Errorf("`lab %s` passes for a command", wrong)
		}
	}
}

// anchors returns those that GitHub gives to the headings of a document.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		kept := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(kept, " ", "-"))
	}
	return all
}

// linkProblem says what is wrong with where a page's link leads, or "".
func linkProblem(name, link string, text func(string) (string, error)) string {
	file, anchor, _ := strings.Cut(link, "#")
	switch {
	case file == "":
		file = name
	case strings.HasPrefix(file, "/"):
		file = file[1:]
	default:
		file = path.Join(path.Dir(name), file)
	}
	content, err := text(file)
	if err != nil {
		return err.Error()
	}
	if anchor != "" && !slices.Contains(anchors(content), anchor) {
		return file + " has no heading with that anchor"
	}
	return ""
}

// Every link of a page leads to a file, a folder or a heading that exists, and so
// does every path that it names.
func TestPageLinks(t *testing.T) {
	read := func(name string) (string, error) {
		info, err := os.Stat(filepath.Join(repositoryRoot, name))
		if err != nil || info.IsDir() {
			return "", err
		}
		content, err := os.ReadFile(filepath.Join(repositoryRoot, name))
		return string(content), err
	}
	for name, text := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
			if problem := linkProblem(name, m[1], read); problem != "" {
				t.Errorf("%s leads to %s: %s", name, m[1], problem)
			}
		}
		for _, p := range regexp.MustCompile(`\b(?:apps|base|overlays|argocd|proto)/[\w./*-]*\w`).FindAllString(text, -1) {
			if found, err := filepath.Glob(filepath.Join(repositoryRoot, p)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", name, p)
			}
		}
	}
	for _, wrong := range []string{"nowhere.md", "#nothing", "/overlays/l5", "overlays/README.md#nothing"} {
		if linkProblem("README.md", wrong, read) == "" {
			t.Errorf("the link %s passes", wrong)
		}
	}
}

// Every strategy has its row in the comparison, and its section with the command that deploys it.
func TestPageStrategies(t *testing.T) {
	for _, s := range strategy.All() {
		if slices.ContainsFunc(manifest.Variants, func(v manifest.Variant) bool { return v.Name == s.Name }) {
			continue
		}
		for file, want := range map[string][]string{
			"README.md":          {"| [`" + s.Name + "`](/overlays/"},
			"overlays/README.md": {"\n### " + s.Name + ": ", "`kubectl apply -k overlays/" + s.Name + "`"},
		} {
			for _, w := range want {
				if !strings.Contains(readPage(t, file), w) {
					t.Errorf("%s lacks %q", file, w)
				}
			}
		}
	}
}

// Every page and picture is what the committed measurements give.
func TestPageDerived(t *testing.T) {
	files, err := docs.Files(repositoryRoot, commandBlocks())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if diff := cmp.Diff(string(want), readPage(t, name)); diff != "" {
			t.Errorf("%s is not current (-want +got): go run ./apps/lab docs\n%.2000s", name, diff)
		}
	}
}

// Each finding names a heading of the page about findings.
func TestPageFindings(t *testing.T) {
	headings := anchors(readPage(t, "overlays/WHY.md"))
	for _, k := range balance.Kinds {
		if _, anchor, _ := strings.Cut(k.Page(), "#"); !slices.Contains(headings, anchor) {
			t.Errorf("finding %s: overlays/WHY.md has no heading with the anchor %s", k.Name, anchor)
		}
	}
}
