package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
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

// Image is one program on an empty base.
type Image struct {
	// Ref is the name and tag that a manifest uses.
	Ref string
	// Program is the file on this machine. Images that share a program share
	// the layer too, so that it is stored and imported once.
	Program string
	// Entrypoint is the program's absolute path in the image and its first
	// arguments. The default is the file's name in the root directory.
	Entrypoint []string
	// User is "uid:gid"; empty is root.
	User string
}

// Pack writes the images into one docker-save archive at archivePath. The same
// programs give the same bytes.
func Pack(archivePath string, images ...Image) error {
	built := map[name.Reference]v1.Image{}
	layers := map[string]v1.Layer{}
	for _, i := range images {
		ref, err := name.ParseReference(i.Ref, name.StrictValidation)
		if err != nil {
			return fmt.Errorf("image: reference %q: want name:tag: %w", i.Ref, err)
		}
		if len(i.Entrypoint) == 0 {
			i.Entrypoint = []string{"/" + filepath.Base(i.Program)}
		}
		key := i.Program + " " + i.Entrypoint[0]
		if layers[key] == nil {
			if layers[key], err = layer(i.Program, i.Entrypoint[0]); err != nil {
				return fmt.Errorf("image: packing %s: %w", i.Ref, err)
			}
		}
		img, err := mutate.AppendLayers(emptyBase(i.User), layers[key])
		if err != nil {
			return fmt.Errorf("image: packing %s: %w", i.Ref, err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			return fmt.Errorf("image: packing %s: %w", i.Ref, err)
		}
		config.Config.Entrypoint = i.Entrypoint
		if built[ref], err = mutate.ConfigFile(img, config); err != nil {
			return fmt.Errorf("image: packing %s: %w", i.Ref, err)
		}
	}
	return replace(archivePath, func(file string) error {
		return tarball.MultiRefWriteToFile(file, built)
	})
}

// emptyBase is an image without files for this machine's architecture.
func emptyBase(user string) v1.Image {
	config := &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{User: user, Env: []string{"PATH=/"}},
		RootFS: v1.RootFS{Type: "layers"},
	}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		panic("image: an empty image takes every configuration: " + err.Error())
	}
	return img
}

// layer holds one file, with no owner and no times of this machine.
func layer(program, target string) (v1.Layer, error) {
	if !path.IsAbs(target) {
		return nil, fmt.Errorf("entrypoint %q is not an absolute path", target)
	}
	info, err := os.Stat(program)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", program)
	}
	var header bytes.Buffer
	w := tar.NewWriter(&header)
	for dir := range parents(target) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(target, "/"), Mode: 0o755, Size: info.Size()}); err != nil {
		return nil, err
	}
	// The program is streamed between the header and the padding, since it can
	// be large; two empty blocks end an archive.
	padding := make([]byte, (512-info.Size()%512)%512+1024)
	open := func() (io.ReadCloser, error) {
		file, err := os.Open(program)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(header.Bytes()), file, bytes.NewReader(padding)), file}, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
}

// parents yields the directories above an absolute path, outermost first.
func parents(target string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		parts := strings.Split(strings.Trim(path.Dir(target), "/"), "/")
		for i := range parts {
			if dir := strings.Join(parts[:i+1], "/"); dir != "" && !yield(dir+"/") {
				return
			}
		}
	}
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
