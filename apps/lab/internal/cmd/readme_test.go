package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/slow"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// update writes README.md anew where a test compares it with a measurement.
var update = flag.Bool("update", false, "write what is measured into README.md")

// repositoryRoot is where README.md and what it names lie.
const repositoryRoot = "../../../.."

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

// anchors returns those that GitHub gives to the headings of a document.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		kept := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(kept, " ", "-"))
	}
	return all
}

// Every file and folder that README names exists, and every strategy has its
// row in the table and its section.
func TestReadmePaths(t *testing.T) {
	text := readme(t)
	paths := regexp.MustCompile(`\b(?:apps|base|overlays|argocd|proto)/[\w./-]*\w`).FindAllString(text, -1)
	for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
		paths = append(paths, m[1])
	}
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		if anchor, ok := strings.CutPrefix(p, "#"); ok {
			if !slices.Contains(anchors(text), anchor) {
				t.Errorf("README leads to #%s, and no heading has that anchor", anchor)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(repositoryRoot, p)); err != nil {
			t.Errorf("README names %s: %v", p, err)
		}
	}
	for _, s := range strategy.All() {
		if slices.ContainsFunc(manifest.Variants, func(v manifest.Variant) bool { return v.Name == s.Name }) {
			continue
		}
		for _, want := range []string{"| [`" + s.Name + "`](overlays/", "\n### " + s.Name + ": ", "`kubectl apply -k overlays/" + s.Name + "`"} {
			if !strings.Contains(text, want) {
				t.Errorf("README lacks %q", want)
			}
		}
	}
}

// The tables and the guide are those that the committed measurement gives.
func TestReadmeFigures(t *testing.T) {
	content, err := os.ReadFile("../report/costs/measured.json")
	if err != nil {
		t.Fatal(err)
	}
	var measured costs.Table
	if err := json.Unmarshal(content, &measured); err != nil {
		t.Fatal(err)
	}
	want, err := costs.Update(readme(t), costs.Markdown(measured))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readme(t)); diff != "" {
		t.Errorf("README.md is not what measured.json gives (-want +got): go run ./apps/lab costs --from apps/lab/internal/report/costs/measured.json --update README.md\n%s", diff)
	}
}

// The table of the slow server is that of the committed measurement.
func TestReadmeSlow(t *testing.T) {
	content, err := os.ReadFile("../report/slow/measured.json")
	if err != nil {
		t.Fatal(err)
	}
	var measured slow.Result
	if err := json.Unmarshal(content, &measured); err != nil {
		t.Fatal(err)
	}
	want, err := costs.Update(readme(t), map[string]string{"slow": slow.Markdown(measured)})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(repositoryRoot, "README.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, readme(t)); diff != "" {
		t.Errorf("README.md is not what measured.json gives (-want +got): go run ./apps/lab slow -o json >apps/lab/internal/report/slow/measured.json && go test ./apps/lab/internal/cmd -run ReadmeSlow -update\n%s", diff)
	}
}
