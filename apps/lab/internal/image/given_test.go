package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// A flag is a reference and a file. What is neither is refused in one line that
// has the value and what is expected.
func TestParseGiven(t *testing.T) {
	digest := "buoyantio/linkerd@sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct {
		name, flag string
		want       image.Given // or an error
	}{
		{name: "tag", flag: linkerd + "=linkerd.tar", want: image.Given{Ref: linkerd, File: "linkerd.tar"}},
		{name: "digest", flag: digest + "=linkerd.tar", want: image.Given{Ref: digest, File: "linkerd.tar"}},
		{name: "registry_with_a_port", flag: "localhost:5000/linkerd:1=/a/b.tar.gz", want: image.Given{Ref: "localhost:5000/linkerd:1", File: "/a/b.tar.gz"}},
		{name: "file_with_an_equals_sign", flag: linkerd + "=a=b.tar", want: image.Given{Ref: linkerd, File: "a=b.tar"}},
		{name: "empty"},
		{name: "no_file", flag: linkerd},
		{name: "empty_file", flag: linkerd + "="},
		{name: "empty_reference", flag: "=linkerd.tar"},
		{name: "no_tag", flag: "buoyantio/linkerd=linkerd.tar"},
		{name: "port_but_no_tag", flag: "localhost:5000/linkerd=linkerd.tar"},
		{name: "empty_tag", flag: "buoyantio/linkerd:=linkerd.tar"},
		{name: "capital_letters", flag: "Buoyantio/Linkerd:1=linkerd.tar"},
		{name: "short_digest", flag: "buoyantio/linkerd@sha256:00=linkerd.tar"},
		{name: "swapped", flag: "./linkerd.tar=" + linkerd},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := image.ParseGiven(test.flag)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if test.want != (image.Given{}) {
				if err != nil || got.String() != test.flag {
					t.Errorf("%q, error %v, want none", got, err)
				}
				return
			}
			oneLine(t, err, "want REF=FILE", test.flag)
		})
	}
}

// Every way to write a reference gives the one name that containerd and the
// kubelet use.
func TestName(t *testing.T) {
	for _, test := range []struct{ name, ref, want string }{
		{name: "hub", ref: linkerd, want: "docker.io/buoyantio/linkerd:1.7.5"},
		{name: "hub_in_full", ref: "docker.io/" + linkerd, want: "docker.io/buoyantio/linkerd:1.7.5"},
		{name: "hub_by_its_old_name", ref: "index.docker.io/" + linkerd, want: "docker.io/buoyantio/linkerd:1.7.5"},
		{name: "official", ref: "redis:7", want: "docker.io/library/redis:7"},
		{name: "elsewhere", ref: "gcr.io/a/b:c", want: "gcr.io/a/b:c"},
		{name: "tag_and_digest", ref: linkerd + "@sha256:" + strings.Repeat("0", 64), want: "docker.io/buoyantio/linkerd@sha256:" + strings.Repeat("0", 64)},
		{name: "no_tag", ref: "redis"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := image.Name(test.ref); got != test.want || (err != nil) != (test.want == "") {
				t.Errorf("%q, error %v, want %q", got, err, test.want)
			}
		})
	}
}

// Whatever wrote the archive, the cache gets the one image for this machine
// under containerd's name, once. A stand-in is told from the real thing.
func TestImport(t *testing.T) {
	const full = "docker.io/buoyantio/linkerd:1.7.5"
	plain := randomImage(t, runtime.GOARCH, nil)
	standIn := randomImage(t, runtime.GOARCH, map[string]string{image.StandInLabel: "a proxy\n of the tests"})
	foreign := randomImage(t, other(), nil)
	digest, err := plain.Digest()
	if err != nil {
		t.Fatal(err)
	}
	both := layoutFiles(t, indexOf(named(plain, "1.7.5", full)))
	both["manifest.json"] = []byte(`[{"Config":"blobs/x","RepoTags":["buoyantio/linkerd:1.7.5"],"Layers":[]}]`)
	dotted := map[string][]byte{}
	for file, content := range layoutFiles(t, indexOf(named(plain, "", ""))) {
		dotted["./"+file] = content
	}

	for _, test := range []struct {
		name    string
		ref     string // linkerd unless it is given
		archive []byte
		want    v1.Image // plain unless it is given
		repoTag string   // full unless it is given
		standIn string
	}{
		{name: "saved", archive: saved(t, map[string]v1.Image{linkerd: plain})},
		{name: "saved_gzip", archive: gzipped(t, saved(t, map[string]v1.Image{linkerd: plain}))},
		{name: "saved_in_full", archive: saved(t, map[string]v1.Image{"index.docker.io/" + linkerd: plain})},
		{name: "saved_asked_in_full", ref: "index.docker.io/" + linkerd, archive: saved(t, map[string]v1.Image{linkerd: plain})},
		{name: "saved_among_others", archive: saved(t, map[string]v1.Image{"a/b:1": standIn, linkerd: plain, "c/d:1": foreign})},
		{name: "saved_with_two_tags", archive: saved(t, map[string]v1.Image{"a/b:1": plain, linkerd: plain})},
		{name: "saved_without_compression", archive: unzippedLayers(t, plain, `["buoyantio/linkerd:1.7.5"]`)},
		{name: "saved_by_id", archive: unzippedLayers(t, plain, `null`)},
		{name: "saved_stand_in", archive: saved(t, map[string]v1.Image{linkerd: standIn}), want: standIn, standIn: "a proxy of the tests"},
		{name: "official", ref: "redis:7", archive: saved(t, map[string]v1.Image{"redis:7": plain}), repoTag: "docker.io/library/redis:7"},
		{name: "layout_containerd", archive: layoutTar(t, indexOf(named(plain, "1.7.5", full)))},
		{name: "layout_full_name", archive: layoutTar(t, indexOf(named(plain, linkerd, "")))},
		{name: "layout_tag", archive: layoutTar(t, indexOf(named(plain, "1.7.5", "")))},
		{name: "layout_no_name", archive: layoutTar(t, indexOf(named(plain, "", "")))},
		{name: "layout_gzip", archive: gzipped(t, layoutTar(t, indexOf(named(plain, linkerd, ""))))},
		{name: "layout_with_dots", archive: tarOf(t, dotted)},
		{name: "layout_among_others", archive: layoutTar(t, indexOf(named(standIn, "1.7.5", "docker.io/a/b:1.7.5"), named(plain, "1.7.5", full)))},
		{name: "layout_index_inside", archive: layoutTar(t, indexOf(named(multi(t, plain), "1.7.5", full)))},
		{name: "layout_index_inside_no_name", archive: layoutTar(t, indexOf(named(multi(t, plain), "", "")))},
		{name: "layout_index_itself", archive: layoutTar(t, multi(t, plain))},
		{name: "layout_stand_in", archive: layoutTar(t, indexOf(named(standIn, "", ""))), want: standIn, standIn: "a proxy of the tests"},
		{name: "layout_digest", ref: "buoyantio/linkerd@" + digest.String(), archive: layoutTar(t, indexOf(named(plain, "", ""))), repoTag: "docker.io/buoyantio/linkerd@" + digest.String()},
		{name: "saved_and_layout", archive: tarOf(t, both)},
		{name: "layout_without_other_platforms", archive: without(t, indexOf(named(multi(t, plain), "", full)), blobs(t, plain))},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == nil {
				test.want = plain
			}
			if test.ref == "" {
				test.ref = linkerd
			}
			if test.repoTag == "" {
				test.repoTag = full
			}
			g := image.Given{Ref: test.ref, File: write(t, "linkerd.tar", string(test.archive))}
			cache := filepath.Join(t.TempDir(), "cache")
			archive, origin, err := image.Import(g, cache, runtime.GOARCH)
			if err != nil {
				t.Fatal(err)
			}
			sameImage(t, archive, test.repoTag, test.want)
			want := image.Origin{Ref: test.ref, From: g.File, Digest: configName(t, test.want), Created: origin.Created, StandIn: test.standIn}
			if diff := cmp.Diff(want, origin); diff != "" {
				t.Errorf("origin (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{filepath.Base(archive)}, left(t, cache)); diff != "" {
				t.Errorf("in the cache (-want +got):\n%s", diff)
			}
			old := time.Unix(1, 0)
			if err := os.Chtimes(archive, old, old); err != nil {
				t.Fatal(err)
			}
			again, _, err := image.Import(g, cache, runtime.GOARCH)
			if info, statErr := os.Stat(archive); err != nil || statErr != nil || again != archive || !info.ModTime().Equal(old) {
				t.Errorf("the second time gives %s, error %v %v, want the same archive and that it is not written", again, err, statErr)
			}
		})
	}
}

// What is not the image for this machine is refused in one line that says what
// it is instead, and nothing is left in the cache.
func TestImportRefuses(t *testing.T) {
	plain, foreign := randomImage(t, runtime.GOARCH, nil), randomImage(t, other(), nil)
	here, there := "linux/"+runtime.GOARCH, "linux/"+other()
	digest := "buoyantio/linkerd@sha256:" + strings.Repeat("0", 64)
	incomplete := layoutFiles(t, indexOf(named(plain, linkerd, "")))
	wrongSize := layoutFiles(t, indexOf(named(plain, linkerd, "")))
	var index v1.IndexManifest
	if err := json.Unmarshal(wrongSize["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	index.Manifests[0].Size++
	var err error
	if wrongSize["index.json"], err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	changed := layoutFiles(t, indexOf(named(plain, linkerd, "")))
	layers, err := plain.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	delete(incomplete, "blobs/sha256/"+layer.Hex)
	changed["blobs/sha256/"+layer.Hex] = bytes.Clone(changed["blobs/sha256/"+layer.Hex])
	changed["blobs/sha256/"+layer.Hex][20] ^= 1

	for _, test := range []struct {
		name    string
		ref     string // linkerd unless it is given
		archive []byte
		want    []string // in the error
	}{
		{name: "empty_file", want: []string{"not an archive", "docker save"}},
		{name: "text", archive: []byte("hello"), want: []string{"not an archive", "docker save"}},
		{name: "long_text", archive: []byte(strings.Repeat("hello\n", 1000)), want: []string{"not an archive"}},
		{name: "compressed_text", archive: gzipped(t, []byte("hello")), want: []string{"not an archive"}},
		{name: "archive_of_other_things", archive: tarOf(t, map[string][]byte{"README.md": []byte("hello")}), want: []string{"without an image", "docker save"}},
		{name: "saved_another_name", archive: saved(t, map[string]v1.Image{"buoyantio/linkerd:1.7.4": plain, "gcr.io/a/b:c": foreign}), want: []string{"does not hold " + linkerd, "docker.io/buoyantio/linkerd:1.7.4", "gcr.io/a/b:c"}},
		{name: "saved_another_registry", archive: saved(t, map[string]v1.Image{"gcr.io/" + linkerd: plain}), want: []string{"does not hold", "gcr.io/" + linkerd}},
		{name: "saved_another_architecture", archive: saved(t, map[string]v1.Image{linkerd: foreign}), want: []string{there, here}},
		{name: "saved_digest", ref: digest, archive: saved(t, map[string]v1.Image{linkerd: plain}), want: []string{"digest", "OCI image layout"}},
		{name: "saved_configuration_of_another", archive: bytes.Replace(unzippedLayers(t, plain, `null`), []byte(`"linux"`), []byte(`"Linux"`), 1), want: []string{"damaged", "configuration"}},
		{name: "saved_layer_of_another", archive: swapLayers(t, unzippedLayers(t, plain, `null`)), want: []string{"layer 1 of 2", "damaged"}},
		{name: "saved_bad_manifest", archive: tarOf(t, map[string][]byte{"manifest.json": []byte("hello")}), want: []string{"manifest.json"}},
		{name: "saved_nothing", archive: tarOf(t, map[string][]byte{"manifest.json": []byte("[]")}), want: []string{"no image"}},
		{name: "layout_another_name", archive: layoutTar(t, indexOf(named(plain, "1.7.5", "docker.io/a/b:1.7.5"))), want: []string{"does not hold " + linkerd, "docker.io/a/b:1.7.5"}},
		{name: "layout_another_full_name", archive: layoutTar(t, indexOf(named(plain, "a/b:1.7.5", ""))), want: []string{"does not hold " + linkerd, "docker.io/a/b:1.7.5"}},
		{name: "layout_another_tag", archive: layoutTar(t, indexOf(named(plain, "1.7.4", ""))), want: []string{"does not hold " + linkerd, "1.7.4"}},
		{name: "layout_another_digest", ref: digest, archive: layoutTar(t, indexOf(named(plain, "", ""))), want: []string{"does not hold " + digest, "sha256:"}},
		{name: "layout_two_without_names", archive: layoutTar(t, indexOf(named(plain, "", ""), named(randomImage(t, runtime.GOARCH, nil), "", ""))), want: []string{"2 images", "name"}},
		{name: "layout_another_architecture", archive: layoutTar(t, indexOf(named(foreign, linkerd, ""))), want: []string{there, here}},
		{name: "layout_index_of_another_architecture", archive: layoutTar(t, indexOf(named(indexOf(listed{add: foreign, platform: &v1.Platform{OS: "linux", Architecture: other()}}), linkerd, ""))), want: []string{there, here}},
		{name: "layout_that_lies_about_the_architecture", archive: layoutTar(t, indexOf(named(indexOf(listed{add: foreign, platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}), linkerd, ""))), want: []string{there, here}},
		{name: "layout_without_a_layer", archive: tarOf(t, incomplete), want: []string{"not complete", layer.String()}},
		{name: "layout_layer_changed", archive: tarOf(t, changed), want: []string{"damaged", layer.String()}},
		{name: "layout_size_changed", archive: tarOf(t, wrongSize), want: []string{"not complete", "bytes"}},
		{name: "layout_of_another_platform_only", archive: without(t, indexOf(named(multi(t, plain), "", linkerd)), blobs(t, foreign)), want: []string{"not complete", "missing"}},
		{name: "names_that_lead_out", archive: tarOf(t, map[string][]byte{"blobs/sha256/../../../../evil": nil, "../evil": nil, "/evil": nil}), want: []string{"without an image"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.ref == "" {
				test.ref = linkerd
			}
			g, cache := image.Given{Ref: test.ref, File: write(t, "linkerd.tar", string(test.archive))}, t.TempDir()
			_, _, err := image.Import(g, cache, runtime.GOARCH)
			oneLine(t, err, append(test.want, g.String())...)
			if l := left(t, cache); l != nil {
				t.Errorf("left in the cache: %q", l)
			}
		})
	}
	t.Run("no_file", func(t *testing.T) {
		_, _, err := image.Import(image.Given{Ref: linkerd, File: "/nowhere/linkerd.tar"}, t.TempDir(), runtime.GOARCH)
		oneLine(t, err, "/nowhere/linkerd.tar", "no such file")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is not fs.ErrNotExist", err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		_, _, err := image.Import(image.Given{Ref: linkerd, File: t.TempDir()}, t.TempDir(), runtime.GOARCH)
		oneLine(t, err, "directory", "want an archive")
	})
	t.Run("no_tag", func(t *testing.T) {
		_, _, err := image.Import(image.Given{Ref: "linkerd", File: write(t, "x.tar", "")}, t.TempDir(), runtime.GOARCH)
		oneLine(t, err, `"linkerd"`, "want")
	})
}

// An archive that is cut short is refused wherever the cut is, and where it is
// compressed to the last byte.
func TestImportOfTruncated(t *testing.T) {
	img := randomImage(t, runtime.GOARCH, nil)
	for _, test := range []struct {
		name    string
		archive []byte
		end     int // trailing bytes that say nothing: a tar's zero blocks
	}{
		{name: "saved", archive: saved(t, map[string]v1.Image{linkerd: img}), end: 1024},
		{name: "saved_without_compression", archive: unzippedLayers(t, img, `null`), end: 1024},
		{name: "saved_gzip", archive: gzipped(t, saved(t, map[string]v1.Image{linkerd: img}))},
		{name: "layout", archive: layoutTar(t, indexOf(named(img, linkerd, ""))), end: 1024},
		{name: "layout_gzip", archive: gzipped(t, layoutTar(t, indexOf(named(img, linkerd, ""))))},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := t.TempDir()
			content := len(bytes.TrimRight(test.archive, "\x00"))
			if test.end == 0 {
				content = len(test.archive)
			}
			cuts := []int{content - 1}
			for cut := 1; cut < content; cut += 211 {
				cuts = append(cuts, cut, cut/512*512)
			}
			file := filepath.Join(t.TempDir(), "linkerd.tar")
			for _, cut := range cuts {
				if err := os.WriteFile(file, test.archive[:cut], 0o644); err != nil {
					t.Fatal(err)
				}
				_, _, err := image.Import(image.Given{Ref: linkerd, File: file}, cache, runtime.GOARCH)
				oneLine(t, err, file)
			}
			if err := os.WriteFile(file, test.archive[:len(test.archive)/2|1], 0o644); err != nil {
				t.Fatal(err)
			}
			_, _, err := image.Import(image.Given{Ref: linkerd, File: file}, cache, runtime.GOARCH)
			oneLine(t, err, "cut short", "again")
			if l := left(t, cache); l != nil {
				t.Errorf("left in the cache: %q", l)
			}
		})
	}
}

// An archive with one bit that is another is refused, or the bit says nothing
// about the image.
func TestImportOfDamaged(t *testing.T) {
	img := randomImage(t, runtime.GOARCH, nil)
	for _, test := range []struct {
		name    string
		archive []byte
	}{
		{name: "saved", archive: saved(t, map[string]v1.Image{linkerd: img})},
		{name: "saved_without_compression", archive: unzippedLayers(t, img, `["buoyantio/linkerd:1.7.5"]`)},
		{name: "saved_gzip", archive: gzipped(t, saved(t, map[string]v1.Image{linkerd: img}))},
		{name: "layout", archive: layoutTar(t, indexOf(named(img, linkerd, "")))},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, refused := filepath.Join(t.TempDir(), "linkerd.tar"), 0
			for at := 0; at < len(test.archive); at += 101 {
				damaged := bytes.Clone(test.archive)
				damaged[at] ^= 1 << (at % 8)
				if err := os.WriteFile(file, damaged, 0o644); err != nil {
					t.Fatal(err)
				}
				archive, _, err := image.Import(image.Given{Ref: linkerd, File: file}, t.TempDir(), runtime.GOARCH)
				if err != nil {
					oneLine(t, err, file)
					refused++
					continue
				}
				sameImage(t, archive, "docker.io/"+linkerd, img)
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

// An origin says all that a reader of a result must know of an image.
func TestOrigin(t *testing.T) {
	o := image.Origin{Ref: linkerd, From: "linkerd.tar", Digest: "sha256:0123456789abcdef"}
	if got, want := o.String(), "buoyantio/linkerd:1.7.5 from linkerd.tar (sha256:0123456789ab…)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	o.StandIn = "a proxy of the tests"
	if got, want := o.String(), "buoyantio/linkerd:1.7.5 from linkerd.tar (sha256:0123456789ab…), a stand-in: a proxy of the tests"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The labels of an image that Pack makes are found again, a stand-in's even
// where it is empty.
func TestPackLabels(t *testing.T) {
	program, archive := write(t, "proxy", "the program"), filepath.Join(t.TempDir(), "x.tar")
	for text, want := range map[string]string{"a proxy": "a proxy", "": "it does not say of what"} {
		if err := image.Pack(archive, image.Image{
			Ref: "docker.io/" + linkerd, Files: map[string]string{"/proxy": program}, Entrypoint: []string{"/proxy"},
			Labels: map[string]string{image.StandInLabel: text},
		}); err != nil {
			t.Fatal(err)
		}
		if _, origin, err := image.Import(image.Given{Ref: linkerd, File: archive}, t.TempDir(), runtime.GOARCH); err != nil || origin.StandIn != want {
			t.Errorf("label %q: stand-in %q, error %v, want %q", text, origin.StandIn, err, want)
		}
	}
}

// oneLine verifies that an error is one line with those texts in it.
func oneLine(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "image: ") || strings.Count(text, "image: ") > 1 {
		t.Errorf("%q is not one line that begins with the package", text)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want one with %q", err, w)
		}
	}
}

// blobs returns the paths of an image's manifest, configuration and layers.
func blobs(t *testing.T, img v1.Image) map[string]bool {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{"blobs/sha256/" + digest.Hex: true, "blobs/sha256/" + manifest.Config.Digest.Hex: true}
	for _, l := range manifest.Layers {
		all["blobs/sha256/"+l.Digest.Hex] = true
	}
	return all
}

// without is a layout with an index inside that lists more images than the one
// whose blobs are kept, as `docker save` writes it.
func without(t *testing.T, index v1.ImageIndex, keep map[string]bool) []byte {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	all := layoutFiles(t, index)
	maps.DeleteFunc(all, func(file string, _ []byte) bool {
		return strings.HasPrefix(file, "blobs/") && !keep[file] && file != "blobs/sha256/"+manifest.Manifests[0].Digest.Hex
	})
	return tarOf(t, all)
}

// swapLayers lets an archive's manifest list its two layers the other way round.
func swapLayers(t *testing.T, archive []byte) []byte {
	t.Helper()
	swapped := bytes.Replace(archive, []byte(`"a/layer.tar","b/layer.tar"`), []byte(`"b/layer.tar","a/layer.tar"`), 1)
	if bytes.Equal(swapped, archive) {
		t.Fatal("no layers to swap")
	}
	return swapped
}
