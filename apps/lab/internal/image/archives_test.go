package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const linkerd = "buoyantio/linkerd:1.7.5"

// other is an architecture that this machine does not have.
func other() string {
	if runtime.GOARCH == "s390x" {
		return "amd64"
	}
	return "s390x"
}

// randomImage has two layers.
func randomImage(t *testing.T, arch string, labels map[string]string) v1.Image {
	t.Helper()
	img, err := random.Image(700, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Labels = "linux", arch, labels
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// saved is what the library writes in place of `docker save`.
func saved(t *testing.T, images map[string]v1.Image) []byte {
	t.Helper()
	all := map[name.Reference]v1.Image{}
	for ref, img := range images {
		parsed, err := name.ParseReference(ref)
		if err != nil {
			t.Fatal(err)
		}
		all[parsed] = img
	}
	var out bytes.Buffer
	if err := tarball.MultiRefWrite(all, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// listed is an image or an index of an OCI layout with its annotations.
type listed struct {
	add         mutate.Appendable
	annotations map[string]string
	platform    *v1.Platform
}

// named is with the annotations of the specification and of containerd.
func named(add mutate.Appendable, ref, containerd string) listed {
	l := listed{add: add, annotations: map[string]string{}}
	if ref != "" {
		l.annotations["org.opencontainers.image.ref.name"] = ref
	}
	if containerd != "" {
		l.annotations["io.containerd.image.name"] = containerd
	}
	return l
}

func indexOf(all ...listed) v1.ImageIndex {
	index := v1.ImageIndex(empty.Index)
	for _, l := range all {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: l.add, Descriptor: v1.Descriptor{Annotations: l.annotations, Platform: l.platform}})
	}
	return index
}

// multi is an index of an image for this machine, one for another, and what
// BuildKit adds.
func multi(t *testing.T, img v1.Image) v1.ImageIndex {
	t.Helper()
	return indexOf(
		listed{add: randomImage(t, other(), nil), platform: &v1.Platform{OS: "linux", Architecture: other()}},
		listed{add: img, platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}},
		listed{add: mutate.MediaType(randomImage(t, "unknown", nil), types.OCIManifestSchema1), platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}},
	)
}

// layoutFiles returns the files of an OCI layout by their paths.
func layoutFiles(t *testing.T, index v1.ImageIndex) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if _, err := layout.Write(dir, index); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[path], err = os.ReadFile(filepath.Join(dir, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: file, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[file]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[file]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func layoutTar(t *testing.T, index v1.ImageIndex) []byte {
	t.Helper()
	return tarOf(t, layoutFiles(t, index))
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unzippedLayers is an archive as docker and podman write it: with layers that
// are not compressed.
func unzippedLayers(t *testing.T, img v1.Image, repoTags string) []byte {
	t.Helper()
	digest, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{digest.Hex + ".json": config}
	var paths string
	for i, layer := range layers {
		path := string(rune('a'+i)) + "/layer.tar"
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if _, err := raw.ReadFrom(content); err != nil {
			t.Fatal(err)
		}
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
		files[path] = raw.Bytes()
		if i > 0 {
			paths += ","
		}
		paths += `"` + path + `"`
	}
	files["manifest.json"] = []byte(`[{"Config":"` + digest.Hex + `.json","RepoTags":` + repoTags + `,"Layers":[` + paths + `]}]`)
	return tarOf(t, files)
}

// left returns what is in the cache.
func left(t *testing.T, cache string) []string {
	t.Helper()
	entries, err := os.ReadDir(cache)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sameImage verifies that the archive holds one image under that name: the same
// configuration and the same files.
func sameImage(t *testing.T, archive, repoTag string, want v1.Image) {
	t.Helper()
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{repoTag}) {
		t.Errorf("the archive has %+v, want one image with the name %s", manifest, repoTag)
	}
	got, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := configName(t, got), configName(t, want); g != w {
		t.Errorf("configuration %s, want %s", g, w)
	}
	if g, w := files(t, mutate.Extract(got)), files(t, mutate.Extract(want)); !maps.Equal(g, w) || len(w) != 2 {
		t.Errorf("%d files, want the %d of the image", len(g), len(w))
	}
}

func configName(t *testing.T, img v1.Image) string {
	t.Helper()
	digest, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
