package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// archiveOf is the place in the cache of an image with that name and content.
func archiveOf(cache, kind string, ref name.Reference, arch, content string) string {
	sum := sha256.Sum256([]byte(nodeName(ref) + "\n" + platform(arch).String() + "\n" + content))
	return filepath.Join(cache, kind+"-"+path.Base(ref.Context().RepositoryStr())+"-"+hex.EncodeToString(sum[:])[:12]+".tar")
}

// writeArchive writes one image for LoadImages and tells progress, unless it is
// nil, how many bytes of how many are written.
func writeArchive(file string, ref name.Reference, img v1.Image, progress func(done, total int64)) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	w := &counter{w: out, progress: progress}
	if w.total, err = tarball.CalculateSize(map[name.Reference]v1.Image{ref: img}); err == nil {
		err = save(w, nodeName(ref), img)
	}
	if err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// save writes a docker-save archive. It is not tarball.Write because that names
// images by tags only, and in the words that the tags came in.
func save(w io.Writer, repoTag string, img v1.Image) error {
	manifest, err := tarball.ComputeManifest(map[name.Reference]v1.Image{name.Tag{}: img})
	if err != nil {
		return err
	}
	manifest[0].RepoTags = []string{repoTag}
	index, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	out, written := tar.NewWriter(w), map[string]bool{}
	for i, layer := range layers {
		if file := manifest[0].Layers[i]; !written[file] {
			written[file] = true
			if err := addLayer(out, file, layer); err != nil {
				return err
			}
		}
	}
	if err := addMember(out, manifest[0].Config, bytes.NewReader(config), int64(len(config))); err != nil {
		return err
	}
	if err := addMember(out, "manifest.json", bytes.NewReader(index), int64(len(index))); err != nil {
		return err
	}
	return out.Close()
}

func addLayer(out *tar.Writer, file string, layer v1.Layer) error {
	size, err := layer.Size()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	return addMember(out, file, content, size)
}

func addMember(out *tar.Writer, file string, content io.Reader, size int64) error {
	if err := out.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Typeflag: tar.TypeReg, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// counter tells how far a file is.
type counter struct {
	w           io.Writer
	done, total int64
	progress    func(done, total int64)
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
	return n, err
}
