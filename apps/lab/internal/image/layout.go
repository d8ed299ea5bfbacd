package image

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Where an OCI layout has the image's name: the specification's annotation is
// only the tag for some tools and all of it for others, containerd's is all.
const (
	annotationRef  = "org.opencontainers.image.ref.name"
	annotationName = "io.containerd.image.name"
)

// layoutImages lists the images of an OCI image layout.
func (u unpacked) layoutImages() ([]held, error) {
	index, err := layout.ImageIndexFromPath(u.layout)
	if err != nil {
		return nil, err
	}
	return u.walk(index, held{})
}

// walk lists the images of an index and of those in it. An image has the names
// of the index that it is in.
func (u unpacked) walk(index v1.ImageIndex, parent held) ([]held, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading its index: %w", err)
	}
	var all []held
	for _, d := range manifest.Manifests {
		h := parent
		h.digests = append(slices.Clip(h.digests), d.Digest)
		h.addName(d.Annotations[annotationName])
		h.addName(d.Annotations[annotationRef])
		switch {
		case d.MediaType.IsIndex():
			if err := u.has(d); err != nil {
				return nil, err
			}
			child, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, fmt.Errorf("reading its index: %w", err)
			}
			inner, err := u.walk(child, h)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
		case !d.MediaType.IsImage(), d.Platform != nil && d.Platform.OS == "unknown":
			// Signatures, and what BuildKit says of how it built.
		default:
			h.open = func() (v1.Image, error) { return u.image(index, d) }
			if d.Platform != nil {
				h.platform = *d.Platform
			} else if img, err := h.open(); err != nil {
				return nil, err
			} else if h.platform, err = platformOf(img); err != nil {
				return nil, err
			}
			all = append(all, h)
		}
	}
	return all, nil
}

// image opens an image all of whose blobs are there. An index may list those of
// other platforms without.
func (u unpacked) image(index v1.ImageIndex, d v1.Descriptor) (v1.Image, error) {
	if err := u.has(d); err != nil {
		return nil, err
	}
	img, err := index.Image(d.Digest)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", d.Digest, err)
	}
	return img, u.has(append(manifest.Layers, manifest.Config)...)
}

// has returns an error for the first blob that is missing or of another size.
func (u unpacked) has(blobs ...v1.Descriptor) error {
	for _, d := range blobs {
		size, ok := u.blobs[d.Digest]
		if !ok {
			return incomplete(fmt.Errorf("the blob %s is missing", d.Digest))
		}
		if size != d.Size {
			return incomplete(fmt.Errorf("the blob %s has %d bytes, want %d", d.Digest, size, d.Size))
		}
	}
	return nil
}
