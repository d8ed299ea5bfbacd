package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a job of images.yml pushes is handed on to the release's pull request, signed by
// digest and attested; a release builds anew, and nothing is signed where nothing is
// pushed. Stand-ins for go and cosign note how they are called.
func TestWorkflowComponents(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	line := "linux/arm64 ko 0123456789ab " + digest + "\n"
	images := workflows(t)["images.yml"]
	for _, test := range []struct {
		name, refType, pushes string
		call, output          string
	}{
		{
			name: "main", refType: "branch", pushes: line,
			call:   "go run ./apps/lab components push registry.example/me/lab-components --platform=linux/arm64\n",
			output: "repository=registry.example/me/lab-components\npushed=true\nlinux-arm64<<END\n" + line + "END\n",
		},
		{
			name: "release", refType: "tag", pushes: line,
			call:   "go run ./apps/lab components push registry.example/me/lab-components --platform=linux/arm64 --anew\n",
			output: "repository=registry.example/me/lab-components\npushed=true\nlinux-arm64<<END\n" + line + "END\n",
		},
		{
			name: "nothing_is_new", refType: "branch",
			call:   "go run ./apps/lab components push registry.example/me/lab-components --platform=linux/arm64\n",
			output: "repository=registry.example/me/lab-components\nlinux-arm64<<END\nEND\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			bin, temp := t.TempDir(), t.TempDir()
			calls, output := filepath.Join(temp, "calls"), filepath.Join(temp, "output")
			for _, program := range []string{"go", "cosign"} {
				standIn := "#!/bin/sh\necho \"" + program + " $*\" >>" + calls + "\n"
				if program == "go" {
					standIn += "printf %s '" + test.pushes + "'\n"
				}
				if err := os.WriteFile(filepath.Join(bin, program), []byte(standIn), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			env := []string{
				"PATH=" + bin + ":" + os.Getenv("PATH"), "RUNNER_TEMP=" + temp, "GITHUB_OUTPUT=" + output, "REGISTRY=registry.example",
				"GITHUB_REPOSITORY_OWNER=Me", "GITHUB_REF_TYPE=" + test.refType, "PLATFORM=linux/arm64", "REPOSITORY=registry.example/me/lab-components",
			}
			want := map[string]string{output: test.output, calls: test.call}
			steps := []string{"push"}
			if test.pushes != "" {
				steps = append(steps, "sign")
				want[calls] += "cosign sign --yes registry.example/me/lab-components@" + digest + "\n"
				want[filepath.Join(temp, "checksums")] = strings.TrimPrefix(digest, "sha256:") + "  registry.example/me/lab-components\n"
			}
			for _, step := range steps {
				if out, err := script(t, temp, images.step(t, "components", step), env...); err != nil {
					t.Fatalf("%s: %v\n%s", step, err, out)
				}
			}
			got := map[string]string{}
			for file := range want {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got[file] = string(content)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}
