package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

func write(t *testing.T, file, content string) string {
	t.Helper()
	file = filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// Two images of one program come out of one archive with the program inside,
// the right entrypoint and user, and one common layer.
func TestPack(t *testing.T) {
	program := write(t, "kubernetes", "the program")
	archive := filepath.Join(t.TempDir(), "new", "images.tar")
	if err := image.Pack(archive,
		image.Image{Ref: "lab.local/kube-apiserver:v1", Files: map[string]string{"/usr/bin/kubernetes": program}, Entrypoint: []string{"/usr/bin/kubernetes", "--api"}},
		image.Image{Ref: "lab.local/kube-scheduler:v1", Files: map[string]string{"/usr/bin/kubernetes": program}, Entrypoint: []string{"/usr/bin/kubernetes", "--scheduler"}, User: image.NonRoot},
	); err != nil {
		t.Fatal(err)
	}
	var layers []string
	for ref, want := range map[string]struct {
		entrypoint []string
		user       string
	}{
		"lab.local/kube-apiserver:v1": {entrypoint: []string{"/usr/bin/kubernetes", "--api"}},
		"lab.local/kube-scheduler:v1": {entrypoint: []string{"/usr/bin/kubernetes", "--scheduler"}, user: image.NonRoot},
	} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(archive, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.entrypoint, config.Config.Entrypoint); diff != "" {
			t.Errorf("entrypoint of %s (-want +got):\n%s", ref, diff)
		}
		if config.Config.User != want.user || config.OS != "linux" {
			t.Errorf("%s has user %q and OS %q, want %q and linux", ref, config.Config.User, config.OS, want.user)
		}
		all, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range all {
			id, err := layer.DiffID()
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, id.String())
		}
		if diff := cmp.Diff(map[string]string{"usr": "", "usr/bin": "", "usr/bin/kubernetes": "the program"}, files(t, mutate.Extract(img))); diff != "" {
			t.Errorf("files of %s (-want +got):\n%s", ref, diff)
		}
	}
	if len(layers) != 2 || layers[0] != layers[1] {
		t.Errorf("layers %q, want one that both share", layers)
	}
}

// An archive is packed once for the same content, also for a copy of it elsewhere and
// of another time, and anew for other content and another image of the same.
func TestCached(t *testing.T) {
	cache, old := t.TempDir(), time.Now().Add(-time.Hour)
	of := func(content string, more image.Image) image.Image {
		program := write(t, "pause", content)
		if err := os.Chtimes(program, old, old); err != nil {
			t.Fatal(err)
		}
		more.Ref, more.Files, more.Entrypoint = "lab.local/pause:v1", map[string]string{"/pause": program}, []string{"/pause"}
		return more
	}
	cached := func(i image.Image) (archive string, modified time.Time) {
		archive, err := image.Cached(cache, "system", i)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(archive)
		if err != nil {
			t.Fatal(err)
		}
		return archive, info.ModTime()
	}
	first, packed := cached(of("the program", image.Image{}))
	old = old.Add(time.Minute)
	if again, at := cached(of("the program", image.Image{})); again != first || at != packed {
		t.Errorf("a copy of the program is packed into %s at %s, want %s of %s", again, at, first, packed)
	}
	for name, other := range map[string]image.Image{
		"content": of("the Program", image.Image{}), "user": of("the program", image.Image{User: image.NonRoot}),
		"links": of("the program", image.Image{Links: map[string]string{"/x": "pause"}}),
		"dirs":  of("the program", image.Image{Dirs: []string{"/tmp"}}), "labels": of("the program", image.Image{Labels: map[string]string{"a": "b"}}),
	} {
		if archive, _ := cached(other); archive == first {
			t.Errorf("another image by its %s is taken for the first", name)
		}
	}
	if _, err := image.Cached(cache, "system", image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"/x": "/nowhere/x"}}); err == nil || !strings.Contains(err.Error(), "/nowhere/x") {
		t.Errorf("error %v, want one that names /nowhere/x", err)
	}
}

// What cannot be packed is refused by name, and no half archive is left.
func TestPackRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		image image.Image
	}{
		{name: "no_such_program", image: image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"/x": "/nowhere/x"}, Entrypoint: []string{"/x"}}},
		{name: "directory", image: image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"/x": t.TempDir()}, Entrypoint: []string{"/x"}}},
		{name: "reference_without_tag", image: image.Image{Ref: "lab.local/x", Files: map[string]string{"/x": write(t, "x", "x")}, Entrypoint: []string{"/x"}}},
		{name: "no_entrypoint", image: image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"/x": write(t, "x", "x")}}},
		{name: "relative_file", image: image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"x": write(t, "x", "x")}, Entrypoint: []string{"/x"}}},
		{name: "relative_entrypoint", image: image.Image{Ref: "lab.local/x:v1", Files: map[string]string{"/x": write(t, "x", "x")}, Entrypoint: []string{"x"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "x.tar")
			if err := image.Pack(archive, test.image); err == nil {
				t.Error("packed, want an error")
			}
			if _, err := os.Stat(archive); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stat of the archive gives %v, want that it does not exist", err)
			}
		})
	}
}

// The same program gives the same bytes, so that a hash of the archive means
// something.
func TestPackIsReproducible(t *testing.T) {
	program := write(t, "pause", "the program")
	var archives [2][]byte
	for i := range archives {
		archive := filepath.Join(t.TempDir(), "pause.tar")
		if err := image.Pack(archive, image.Image{Ref: "lab.local/pause:v1", Files: map[string]string{"/pause": program}, Entrypoint: []string{"/pause"}}); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(archive); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of one program differ")
	}
}

func files(t *testing.T, r io.ReadCloser) map[string]string {
	t.Helper()
	defer func() { _ = r.Close() }()
	all := map[string]string{}
	for reader := tar.NewReader(r); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = string(content)
	}
}
