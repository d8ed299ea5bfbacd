package image

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// NonRoot is the user of images that need no rights. It is a number because
// runAsNonRoot cannot be checked against a name.
const NonRoot = "65532:65532"

// Image is some files on an empty base.
type Image struct {
	// Ref is the name and tag that a manifest uses.
	Ref string
	// Files maps absolute paths in the image to files on this machine. Images
	// with the same content share the layer, so that it is stored and imported
	// once.
	Files map[string]string
	// Links maps absolute paths in the image to what they point to.
	Links map[string]string
	// Dirs are absolute paths of directories that every user may write to.
	Dirs []string
	// Entrypoint is a program's absolute path in the image and its first
	// arguments.
	Entrypoint []string
	// User is "uid:gid"; empty is root.
	User string
	// Arch is the architecture of Files; empty is this machine's.
	Arch string
	// Labels go into the image's configuration, such as StandInLabel.
	Labels map[string]string
}

// Cached returns an archive of the images as Pack writes it, packed only where
// the cache has none of the same content, wherever that lies on this machine and
// however old it is.
func Cached(cache, name string, images ...Image) (archivePath string, err error) {
	sum := sha256.New()
	for _, i := range images {
		fmt.Fprintf(sum, "%s %s %q %q %q %q %q\n", cmp.Or(i.Arch, runtime.GOARCH), i.Ref, i.Links, i.Dirs, i.Entrypoint, i.User, i.Labels)
		for _, path := range slices.Sorted(maps.Keys(i.Files)) {
			content, err := hash(i.Files[path])
			if err != nil {
				return "", fmt.Errorf("image: packing %s: %w", i.Ref, err)
			}
			fmt.Fprintf(sum, "%q %x\n", path, content)
		}
	}
	archivePath = filepath.Join(cache, name+"-"+hex.EncodeToString(sum.Sum(nil))[:12]+".tar")
	if _, err := os.Stat(archivePath); err == nil {
		return archivePath, nil
	}
	return archivePath, Pack(archivePath, images...)
}

func hash(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	return sum.Sum(nil), err
}

// Pack writes the images into one docker-save archive at archivePath. The same
// files give the same bytes.
func Pack(archivePath string, images ...Image) error {
	built := map[name.Reference]v1.Image{}
	layers := map[string]v1.Layer{}
	for _, i := range images {
		ref, err := name.ParseReference(i.Ref, name.StrictValidation)
		if err != nil {
			return fmt.Errorf("image: reference %q: want name:tag: %w", i.Ref, err)
		}
		if built[ref], err = i.build(layers); err != nil {
			return fmt.Errorf("image: packing %s: %w", i.Ref, err)
		}
	}
	return replace(archivePath, func(file string) error {
		return tarball.MultiRefWriteToFile(file, built)
	})
}

// build makes the image, with a layer that another one made where it can.
func (i Image) build(layers map[string]v1.Layer) (v1.Image, error) {
	if len(i.Entrypoint) == 0 || !path.IsAbs(i.Entrypoint[0]) {
		return nil, fmt.Errorf("entrypoint %q does not begin with an absolute path", i.Entrypoint)
	}
	entries, err := i.entries()
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(i.Files, i.Links, i.Dirs)
	if layers[key] == nil {
		open := func() (io.ReadCloser, error) { return stream(entries), nil }
		if layers[key], err = tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching); err != nil {
			return nil, err
		}
	}
	img, err := mutate.AppendLayers(emptyBase(i.User, i.Arch), layers[key])
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.Config.Entrypoint, config.Config.Labels = i.Entrypoint, i.Labels
	return mutate.ConfigFile(img, config)
}

// emptyBase is an image without files for an architecture; empty is this machine's.
func emptyBase(user, arch string) v1.Image {
	config := &v1.ConfigFile{
		OS: "linux", Architecture: cmp.Or(arch, runtime.GOARCH),
		Config: v1.Config{User: user, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin:/"}},
		RootFS: v1.RootFS{Type: "layers"},
	}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		panic("image: an empty image takes every configuration: " + err.Error())
	}
	return img
}

// entry is one member of a layer.
type entry struct {
	tar.Header
	file string // whose content it has, or ""
}

// entries lists the layer's members, directories before what they hold, with no
// owner and no times of this machine.
func (i Image) entries() ([]entry, error) {
	members := map[string]entry{}
	add := func(target string, e entry) error {
		if !path.IsAbs(target) || path.Clean(target) != target {
			return fmt.Errorf("%q is not a clean absolute path", target)
		}
		for dir := path.Dir(target); dir != "/"; dir = path.Dir(dir) {
			if _, known := members[dir]; !known {
				members[dir] = entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
		members[target] = e
		return nil
	}
	for target, file := range i.Files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", file)
		}
		if err := add(target, entry{tar.Header{Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size()}, file}); err != nil {
			return nil, err
		}
	}
	for target, to := range i.Links {
		if err := add(target, entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: to}}); err != nil {
			return nil, err
		}
	}
	for _, dir := range i.Dirs {
		if err := add(dir, entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o1777}}); err != nil {
			return nil, err
		}
	}
	var all []entry
	for _, target := range slices.Sorted(maps.Keys(members)) {
		e := members[target]
		e.Name = strings.TrimPrefix(target, "/")
		if e.Typeflag == tar.TypeDir {
			e.Name += "/"
		}
		all = append(all, e)
	}
	return all, nil
}

// stream reads the members as a tar archive. The files are copied while they
// are read, since they can be large.
func stream(entries []entry) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		out := tar.NewWriter(w)
		for _, e := range entries {
			if err := e.copyTo(out); err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.CloseWithError(out.Close())
	}()
	return r
}

func (e entry) copyTo(out *tar.Writer) error {
	if err := out.WriteHeader(&e.Header); err != nil || e.file == "" {
		return err
	}
	file, err := os.Open(e.file)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(out, file)
	return err
}

// replace writes a file under a temporary name and renames it, so that nobody
// ever reads half of it and two runs at once do no harm.
func replace(file string, write func(file string) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	written := filepath.Join(temporary, filepath.Base(file))
	if err := write(written); err != nil {
		return fmt.Errorf("image: writing %s: %w", file, err)
	}
	if err := os.Rename(written, file); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}
