package main

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

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
	Ignore []struct {
		Name     string   `json:"dependency-name"`
		Versions []string `json:"versions"`
	} `json:"ignore"`
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

// Dependabot watches every Go module, every list of wheels, the actions and the images
// of others, each with a cooldown, in the modules of tools what the tools come from,
// and no directory that has nothing to watch. It holds back versions, never a whole module.
func TestDependabot(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(repositoryRoot, ".github/dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]string{"gomod": nil, "pip": nil, "docker": nil, "github-actions": {""}}
	err = filepath.WalkDir(repositoryRoot, func(file string, _ os.DirEntry, err error) error {
		dir, _ := strings.CutPrefix(filepath.Dir(file), repositoryRoot)
		switch filepath.Base(file) {
		case ".git":
			return filepath.SkipDir
		case "go.mod":
			if !versioned.MatchString(dir) { // what is named by its version stays there
				files["gomod"] = append(files["gomod"], dir)
			}
		case "requirements.txt":
			files["pip"] = append(files["pip"], dir)
		case "action.yml":
			files["github-actions"] = append(files["github-actions"], dir)
		}
		if strings.HasPrefix(dir, "/overlays/") && filepath.Ext(file) == ".yaml" {
			if content, err := os.ReadFile(file); err != nil {
				return err
			} else if foreignImage.Match(content) && !slices.Contains(files["docker"], dir) {
				files["docker"] = append(files["docker"], dir)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files["gomod"]) < 2 || len(files["pip"]) < 1 || len(files["docker"]) < 1 || len(files["github-actions"]) < 2 {
		t.Fatalf("found only %v", files)
	}
	for _, violation := range unwatched(t, content, files) {
		t.Error(violation)
	}
	wantViolations(t, content, []breach{
		{name: "module", old: "      - /apps/lab/components/buf\n", new: "", want: "gomod of /apps/lab/components/buf is not watched"},
		{name: "no_module", old: "      - /apps/lab/components/buf\n", new: "      - /apps/lab/components/*\n", want: "gomod: /apps/lab/components/* is not the directory of one"},
		{name: "image", old: "      - /overlays/linkerd/l5d\n", new: "", want: "docker of /overlays/linkerd/l5d is not watched"},
		{name: "action", old: "      - /.github/actions/go\n", new: "", want: "github-actions of /.github/actions/go is not watched"},
		{name: "wheel", old: "/apps/lab/components/zizmor", new: "/apps/lab/components/x", want: "pip of /apps/lab/components/zizmor is not watched"},
		{name: "actions", old: "github-actions", new: "npm", want: "github-actions of / is not watched"},
		{name: "cooldown", old: "default-days: 7", new: "default-days: 0", want: "has no cooldown"},
		{name: "ignored", old: "        versions:\n          - \">=1.74.0\"\n", new: "        dependency-type: all\n", want: "gomod: all versions of github.com/bufbuild/buf are ignored"},
		{name: "tool", old: "dependency-name: github.com/google/ko", new: "dependency-name: x", want: "/apps/lab/components/ko: its tools come from none that is allowed"},
	}, func(t *testing.T, content []byte) []string { t.Helper(); return unwatched(t, content, files) })
}

// unwatched says which of the directories, by ecosystem, the configuration misses.
func unwatched(t *testing.T, content []byte, files map[string][]string) []string {
	t.Helper()
	var config struct {
		Updates []dependabotUpdate `json:"updates"`
	}
	if err := yaml.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	var violations []string
	for _, u := range config.Updates {
		for _, i := range u.Ignore {
			if len(i.Versions) == 0 {
				violations = append(violations, fmt.Sprintf("%s: all versions of %s are ignored", u.Ecosystem, i.Name))
			}
		}
		for _, dir := range append(u.Directories, u.Directory) {
			if dir != "" && !slices.Contains(files[u.Ecosystem], strings.TrimSuffix(dir, "/")) {
				violations = append(violations, fmt.Sprintf("%s: %s is not the directory of one: Dependabot fails there", u.Ecosystem, dir))
			}
		}
	}
	for ecosystem, dirs := range files {
		for _, dir := range dirs {
			var packages []string
			if ecosystem == "gomod" {
				var err error
				if packages, err = tools(filepath.Join(dir, "go.mod")); err != nil {
					t.Fatal(err)
				}
			}
			watched := false
			for _, u := range config.Updates {
				if !u.watches(t, ecosystem, dir) {
					continue
				}
				watched = true
				if u.Cooldown.Days == 0 {
					violations = append(violations, fmt.Sprintf("%s of %s/ has no cooldown", ecosystem, dir))
				}
				for _, tool := range packages {
					if !u.allows(tool) {
						violations = append(violations, fmt.Sprintf("%s: its tools come from none that is allowed: %s", dir, tool))
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

// foreignImage is an image that this repository does not build.
var foreignImage = regexp.MustCompile(`(?m)^\s*(?:- )?image: \S+[:/]\S`)

var versioned = regexp.MustCompile(`/v[0-9.]+$`)
