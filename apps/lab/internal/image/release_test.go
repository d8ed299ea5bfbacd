package image_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// machines are the architectures that are released.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// A release, built with the settings of .ko.yaml by the script of the workflow,
// holds each program for each architecture, static, run as nobody, with a list of
// what it is made of. Built again from a copy elsewhere, with no history and for
// another owner, whose name has capitals, it has the same digests: they change with
// the sources alone.
func TestRelease(t *testing.T) {
	ko := os.Getenv("LAB_KO")
	if ko == "" {
		t.Skip("LAB_KO names no ko: .ci/run does; else go -C apps/lab/components/ko build -o /tmp/ko github.com/google/ko")
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	base := pushBase(t, host+"/empty:base")

	checkout, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	first := release(t, ko, checkout, host, "first", base)
	second := release(t, ko, sources(t, checkout), host, "MyOrg", base)
	for i, program := range image.Programs {
		if first[i].DigestStr() != second[i].DigestStr() {
			t.Errorf("%s is %s, and built again %s", program, first[i].DigestStr(), second[i].DigestStr())
		}
		checkRelease(t, program, first[i])
	}
}

// pushBase stands in for the base image, which this machine may not reach: empty,
// with the user of the real one, for each architecture.
func pushBase(t *testing.T, ref string) string {
	t.Helper()
	base := v1.ImageIndex(empty.Index)
	for arch := range machines {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
			OS: "linux", Architecture: arch,
			Config: v1.Config{User: image.NonRoot}, RootFS: v1.RootFS{Type: "layers"},
		})
		if err != nil {
			t.Fatal(err)
		}
		base = mutate.AppendManifests(base, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, base); err != nil {
		t.Fatal(err)
	}
	return tag.Name()
}

// sources copies what a build reads.
func sources(t *testing.T, checkout string) string {
	t.Helper()
	dir := t.TempDir()
	for _, tree := range []string{"apps", "proto"} {
		if err := os.CopyFS(filepath.Join(dir, tree), os.DirFS(filepath.Join(checkout, tree))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{".ko.yaml", "go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(checkout, file))
		if err != nil {
			t.Fatal(err)
		}
		edit(t, filepath.Join(dir, file), string(content))
	}
	return dir
}

// release runs the workflow's step that builds and pushes, and returns what it says
// was pushed.
func release(t *testing.T, ko, dir, host, owner, base string) []name.Digest {
	t.Helper()
	start, temp := time.Now(), t.TempDir()
	if err := os.Symlink(ko, filepath.Join(temp, "ko")); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(temp, "output")
	step := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", pushStep(t))
	step.Dir = dir
	step.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "KO") || strings.HasPrefix(v, "SOURCE_DATE_EPOCH=")
	}), "KO_DEFAULTBASEIMAGE="+base, "REGISTRY="+host, "GITHUB_REPOSITORY_OWNER="+owner, "GITHUB_REF_NAME=v0.0.0",
		"GITHUB_OUTPUT="+output, "RUNNER_TEMP="+temp)
	if out, err := step.CombinedOutput(); err != nil {
		t.Fatalf("images.yml, push: %v\n%s", err, out)
	}
	written, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(written)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values["echo-"+key] = value
	}
	repository := host + "/" + strings.ToLower(owner)
	if values["echo-repository"] != repository {
		t.Errorf("the repository is %q, want %q", values["echo-repository"], repository)
	}
	var all []name.Digest
	for _, p := range image.Programs {
		digest, err := name.NewDigest(repository + "/" + p + "@" + values[p])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, digest)
	}
	t.Logf("%d programs for %d architectures in %s", len(all), len(machines), time.Since(start).Round(100*time.Millisecond))
	return all
}

// pushStep is the script of images.yml that builds and pushes.
func pushStep(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../../../../.github/workflows/images.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	if err := yaml.Unmarshal(content, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, s := range workflow.Jobs["release"].Steps {
		if s.Name == "push" {
			return s.Run
		}
	}
	t.Fatal("images.yml has no step push")
	return ""
}

func checkRelease(t *testing.T, program string, ref name.Digest) {
	t.Helper()
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]elf.Machine{}
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != image.NonRoot || !slices.Equal(config.Config.Entrypoint, []string{"/ko-app/" + program}) {
			t.Errorf("%s for %s runs %q as %q, want /ko-app/%[1]s as %[5]q", program, m.Platform, config.Config.Entrypoint, config.Config.User, image.NonRoot)
		}
		if config.Architecture != m.Platform.Architecture {
			t.Errorf("%s for %s says that it is for %s", program, m.Platform, config.Architecture)
		}
		seen[m.Platform.String()] = machine(t, img, "ko-app/"+program)
		// Where cosign and ko keep it.
		if _, err := remote.Image(ref.Context().Tag(strings.Replace(m.Digest.String(), ":", "-", 1) + ".sbom")); err != nil {
			t.Errorf("%s for %s has no SBOM: %v", program, m.Platform, err)
		}
	}
	want := map[string]elf.Machine{}
	for arch, m := range machines {
		want["linux/"+arch] = m
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("%s: platforms (-want +got):\n%s", program, diff)
	}
}

// machine tells what the file, a static program, runs on.
func machine(t *testing.T, img v1.Image, file string) elf.Machine {
	t.Helper()
	flat := mutate.Extract(img)
	defer flat.Close()
	for r := tar.NewReader(flat); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("no %s in the image", file)
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.TrimPrefix(header.Name, "/") != file {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		program, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("%s needs %q, %v, want nothing", file, libraries, err)
		}
		return program.Machine
	}
}
