package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What lies in .github is right in a fork as it is: nothing there names this
// repository's owner.
func TestGitHubNamesNoOwner(t *testing.T) {
	owner := regexp.MustCompile(`(?:@|github\.com/|ghcr\.io/|--repo )grpc-lb\b`)
	packages := regexp.MustCompile(`\sgithub\.com/grpc-lb/grpc-lb/apps/\S+/\.\.\.`) // a module's path is the same in a fork
	names := func(text string) []string { return owner.FindAllString(packages.ReplaceAllString(text, ""), -1) }
	for _, wrong := range []string{
		"* @grpc-lb/maintainers", "https://github.com/grpc-lb/grpc-lb/security", "cosign verify ghcr.io/grpc-lb/echo-server",
		"see https://github.com/grpc-lb/grpc-lb/apps/k8sresolver", "go get github.com/grpc-lb/grpc-lb/apps/k8sresolver@v1",
	} {
		if len(names(wrong)) == 0 {
			t.Errorf("%q passes", wrong)
		}
	}
	if found := names("go test ./... github.com/grpc-lb/grpc-lb/apps/k8sresolver/..."); len(found) > 0 {
		t.Errorf("the packages of a module are refused: %q", found)
	}
	err := filepath.WalkDir(filepath.Join(repositoryRoot, ".github"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		for _, found := range names(string(content)) {
			t.Errorf("%s names %s, which a fork is not", file, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every label that a form or the release notes use is one that SETUP.md makes, or
// one that GitHub gives to each repository.
func TestGitHubLabels(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(repositoryRoot, ".github", name))
		if err == nil {
			err = yaml.Unmarshal(content, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var used []string
	for _, name := range []string{"strategy", "wrong"} {
		var form struct{ Labels []string }
		read("ISSUE_TEMPLATE/"+name+".yml", &form)
		used = append(used, form.Labels...)
	}
	var notes struct {
		Changelog struct {
			Exclude    struct{ Labels []string }
			Categories []struct{ Labels []string }
		}
	}
	read("release.yml", &notes)
	used = append(used, notes.Changelog.Exclude.Labels...)
	for _, c := range notes.Changelog.Categories {
		used = append(used, c.Labels...)
	}
	content, err := os.ReadFile(filepath.Join(repositoryRoot, ".github/SETUP.md"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`for label in (.*); do gh label create`).FindStringSubmatch(string(content))
	if line == nil {
		t.Fatal("SETUP.md makes no labels")
	}
	made := append(strings.Fields(line[1]), "bug", "*") // which GitHub has
	for _, label := range used {
		if !slices.Contains(made, label) {
			t.Errorf("the label %q is used, and SETUP.md does not make it", label)
		}
	}
	if len(used) < 6 {
		t.Errorf("only the labels %q are used, want those of the forms and the release notes", used)
	}
}
