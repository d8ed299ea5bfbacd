package image_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// fakeKo makes this test's binary stand in for ko: it notes its call in that
// file and puts the base image that it is told into the archive.
const fakeKo = "LAB_TEST_FAKE_KO"

func TestMain(m *testing.M) {
	calls := os.Getenv(fakeKo)
	if calls == "" {
		os.Exit(m.Run())
	}
	if err := standIn(calls, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func standIn(calls string, args []string) error {
	log, err := os.OpenFile(calls, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	flags := map[string]string{}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		flags[key] = value
	}
	if _, err := fmt.Fprintln(log, args[1]); err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	if os.Getenv("KO_DOCKER_REPO") != "lab.local" || flags["--push"] != "false" {
		return fmt.Errorf("repository %q, push %q: want lab.local, false", os.Getenv("KO_DOCKER_REPO"), flags["--push"])
	}
	if _, err := os.Stat(filepath.Join(args[1], "broken")); err == nil {
		return fmt.Errorf("main.go:3: undefined: broken")
	}
	base, err := name.ParseReference(os.Getenv("KO_DEFAULTBASEIMAGE"))
	if err != nil {
		return err
	}
	img, err := remote.Image(base)
	if err != nil {
		return err
	}
	ref, err := name.NewTag("lab.local/" + filepath.Base(args[1]) + ":" + flags["--tags"])
	if err != nil {
		return err
	}
	return tarball.WriteToFile(flags["--tarball"], ref, img)
}

// checkout writes a module with the programs.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for file, content := range map[string]string{
		"go.mod":           "module example.com/m\n\ngo 1.26.0\n\nrequire example.com/m/nested v0.0.0\n\nreplace example.com/m/nested => ./nested\n",
		"nested/go.mod":    "module example.com/m/nested\n\ngo 1.26.0\n",
		"nested/nested.go": "package nested\n",
		"go.sum":           "", ".ko.yaml": "builds: []\n",
		"shared/shared.go":             "package shared\n",
		"apps/echo-server/main.go":     "package main\n\nfunc main() {}\n",
		"apps/echo-client/main.go":     "package main\n\nimport (\n\t_ \"example.com/m/nested\"\n\t_ \"example.com/m/shared\"\n)\n\nfunc main() {}\n",
		"apps/echo-client-xds/main.go": "package main\n\nimport _ \"example.com/m/shared\"\n\nfunc main() {}\n",
	} {
		edit(t, filepath.Join(root, file), content)
	}
	return root
}

func edit(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Images are built once for each content: the second time nothing is called,
// and a change calls ko for the programs that it reaches and no other. ko finds
// the empty base, which runs as nobody, on the loopback.
func TestBuild(t *testing.T) {
	root, calls := checkout(t), filepath.Join(t.TempDir(), "calls")
	t.Setenv(fakeKo, calls)
	t.Setenv("KO_DOCKER_REPO", "registry.example.com") // of who runs the lab
	cfg := image.Config{Root: root, Ko: os.Args[0], Cache: filepath.Join(t.TempDir(), "cache"), Arch: "arm64"}
	for _, step := range []struct {
		name, file, content string
		want                []string
	}{
		{name: "first", want: []string{"./apps/echo-server", "./apps/echo-client", "./apps/echo-client-xds"}},
		{name: "nothing_changed"},
		{name: "unrelated_file", file: "README.md", content: "hello"},
		{name: "shared_by_clients", file: "shared/shared.go", content: "package shared\n\nconst X = 1\n", want: []string{"./apps/echo-client", "./apps/echo-client-xds"}},
		{name: "new_file", file: "apps/echo-server/more.go", content: "package main\n", want: []string{"./apps/echo-server"}},
		{name: "module_of_the_checkout", file: "nested/nested.go", content: "package nested\n\nconst X = 1\n", want: []string{"./apps/echo-client"}},
		{name: "its_go_mod", file: "nested/go.mod", content: "module example.com/m/nested\n\ngo 1.25.0\n", want: []string{"./apps/echo-client"}},
		{name: "test_file", file: "apps/echo-server/more_test.go", content: "package main\n"},
		{name: "settings", file: ".ko.yaml", content: "builds: [] # changed\n", want: []string{"./apps/echo-server", "./apps/echo-client", "./apps/echo-client-xds"}},
	} {
		if step.file != "" {
			edit(t, filepath.Join(root, step.file), step.content)
		}
		_ = os.Remove(calls)
		built, err := image.Build(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		raw, _ := os.ReadFile(calls) // absent where ko was not called
		if diff := cmp.Diff(step.want, lines(string(raw))); diff != "" {
			t.Errorf("%s: calls of ko (-want +got):\n%s", step.name, diff)
		}
		others := cfg
		others.Arch = "amd64"
		if same, err := image.Build(t.Context(), others); err != nil || same[0].Ref != built[0].Ref || same[0].Archive == built[0].Archive {
			t.Errorf("%s: for other nodes %+v, %v, want the name %s and another archive", step.name, same, err, built[0].Ref)
		}
		for i, b := range built {
			if want := "lab.local/" + image.Programs[i] + ":"; !strings.HasPrefix(b.Ref, want) || len(b.Ref) != len(want)+12 {
				t.Errorf("%s: reference %q, want %s and 12 digits", step.name, b.Ref, want)
			}
			img, err := crane.LoadTag(b.Archive, b.Ref)
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if config.Config.User != image.NonRoot || config.Architecture != cfg.Arch {
				t.Errorf("%s: %s runs as %q on %s, want %q on %s", step.name, b.Ref, config.Config.User, config.Architecture, image.NonRoot, cfg.Arch)
			}
		}
	}
}

// A build that fails says what ko said and leaves nothing that the next run
// would take for an image.
func TestBuildFails(t *testing.T) {
	root := checkout(t)
	edit(t, filepath.Join(root, "apps/echo-client/broken"), "")
	t.Setenv(fakeKo, filepath.Join(t.TempDir(), "calls"))
	cfg := image.Config{Root: root, Ko: os.Args[0], Cache: filepath.Join(t.TempDir(), "cache"), Arch: "arm64"}
	_, err := image.Build(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "undefined: broken") || !strings.Contains(err.Error(), "apps/echo-client") {
		t.Errorf("error %v, want one with ko's own and the program's name", err)
	}
	left, err := filepath.Glob(filepath.Join(cfg.Cache, "*echo-client*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %q %v, want nothing", left, err)
	}
}

func lines(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
