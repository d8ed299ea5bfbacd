package image

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Given is an image that the user has in a file.
type Given struct {
	// Ref is what the manifests call it.
	Ref string
	// File is a tar archive, plain or compressed with gzip, as `docker save`
	// writes it or of an OCI image layout.
	File string
}

// ParseGiven reads the value of a flag: REF=FILE.
func ParseGiven(flag string) (Given, error) {
	ref, file, ok := strings.Cut(flag, "=") // no reference has one
	if !ok || ref == "" || file == "" {
		return Given{}, fmt.Errorf("image: %q: want REF=FILE, such as docker.io/buoyantio/linkerd:1.7.5=linkerd.tar: write the file with `docker save -o FILE REF`", flag)
	}
	if _, err := parseRef(ref); err != nil {
		return Given{}, fmt.Errorf("image: %q: want REF=FILE: %w", flag, err)
	}
	return Given{Ref: ref, File: file}, nil
}

// String returns REF=FILE.
func (g Given) String() string { return g.Ref + "=" + g.File }

// Import reads all of the file, so that a broken one is found now and not on a
// node, and returns an archive for Cluster.LoadImages with nothing but that
// image for nodes of the architecture. It is written where the cache has none
// of the same content.
func Import(g Given, cache, arch string) (archive string, origin Origin, err error) {
	ref, err := parseRef(g.Ref)
	if err != nil {
		return "", Origin{}, fmt.Errorf("image: %w", err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", Origin{}, fmt.Errorf("image: %w", err)
	}
	// Not in /tmp, which may be memory.
	scratch, err := os.MkdirTemp(cache, ".given-")
	if err != nil {
		return "", Origin{}, fmt.Errorf("image: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	img, err := g.open(ref, scratch, platform(arch))
	if err == nil {
		origin, err = originOf(img, g.Ref, g.File, platform(arch))
	}
	if err == nil {
		err = checkLayers(img)
	}
	if err != nil {
		return "", Origin{}, fmt.Errorf("image: %s: %w", g, err)
	}
	archive = archiveOf(cache, "given", ref, arch, origin.Digest)
	if _, err := os.Stat(archive); err == nil {
		return archive, origin, nil
	}
	err = replace(archive, func(file string) error { return writeArchive(file, ref, img, nil) })
	if err != nil {
		return "", Origin{}, err
	}
	return archive, origin, nil
}

// open finds the image in the file. What it returns reads from scratch.
func (g Given) open(ref name.Reference, scratch string, want v1.Platform) (v1.Image, error) {
	u, err := unpack(g.File, scratch)
	if err != nil {
		return nil, err
	}
	var all []held
	switch {
	// Archives of Docker 25 and later are both. containerd prefers this, too.
	case u.members["oci-layout"] && u.members["index.json"]:
		all, err = u.layoutImages()
	case u.members["manifest.json"]:
		if _, ok := ref.(name.Digest); ok {
			return nil, errors.New("an archive of docker save does not tell digests: name the image by its tag, or give an OCI image layout")
		}
		all, err = u.savedImages()
	default:
		return nil, fmt.Errorf("it is a tar archive without an image, or cut short: want the file of `docker save -o FILE %s` or an OCI image layout", g.Ref)
	}
	if err != nil {
		return nil, err
	}
	found, err := choose(all, ref, want)
	if err != nil {
		return nil, err
	}
	return found.open()
}

// checkLayers reads each layer and compares it to what the configuration says.
func checkLayers(img v1.Image) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if want := config.RootFS.DiffIDs; len(layers) != len(want) {
		return fmt.Errorf("the image is damaged: it has %d layers and its configuration lists %d", len(layers), len(want))
	}
	for i, layer := range layers {
		got, err := contentOf(layer)
		if err == nil && got != config.RootFS.DiffIDs[i] {
			err = fmt.Errorf("its content is %s, want %s", got, config.RootFS.DiffIDs[i])
		}
		if err != nil {
			return fmt.Errorf("layer %d of %d is damaged: %w", i+1, len(layers), err)
		}
	}
	return nil
}

func contentOf(layer v1.Layer) (v1.Hash, error) {
	content, err := layer.Uncompressed()
	if err != nil {
		return v1.Hash{}, err
	}
	defer func() { _ = content.Close() }()
	hash, _, err := v1.SHA256(content)
	return hash, err
}
