package image

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// savedImages lists the images of `docker save`.
func (u unpacked) savedImages() ([]held, error) {
	open := func() (io.ReadCloser, error) { return os.Open(u.tar) }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, fmt.Errorf("reading its manifest.json: %w", err)
	}
	var all []held
	for _, d := range manifest {
		var h held
		for _, tag := range d.RepoTags {
			h.addName(tag)
		}
		// The library finds an image by its tag, or without one where there is
		// no other.
		var tag *name.Tag
		if len(manifest) > 1 {
			if len(d.RepoTags) == 0 {
				continue
			}
			parsed, err := name.NewTag(d.RepoTags[0])
			if err != nil {
				return nil, fmt.Errorf("reading its manifest.json: %w", err)
			}
			tag = &parsed
		}
		img, err := tarball.Image(open, tag)
		if err != nil {
			return nil, incomplete(err)
		}
		if err := checkConfig(img, d.Config); err != nil {
			return nil, err
		}
		if h.platform, err = platformOf(img); err != nil {
			return nil, err
		}
		h.open = func() (v1.Image, error) { return img, nil }
		all = append(all, h)
	}
	return all, nil
}

// checkConfig compares a configuration to its file's name, which is its digest
// for every tool that writes these archives, with one ending or another.
func checkConfig(img v1.Image, file string) error {
	digits := strings.TrimPrefix(strings.TrimSuffix(path.Base(file), ".json"), "sha256:")
	want, err := v1.NewHash("sha256:" + digits)
	if err != nil {
		return nil // named otherwise
	}
	got, err := img.ConfigName()
	if err == nil && got != want {
		err = fmt.Errorf("the image is damaged: its configuration is %s, want %s", got, want)
	}
	return err
}

func platformOf(img v1.Image) (v1.Platform, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return v1.Platform{}, fmt.Errorf("reading the image's configuration: %w", err)
	}
	return v1.Platform{OS: config.OS, Architecture: config.Architecture}, nil
}

func incomplete(err error) error {
	return fmt.Errorf("the archive is not complete: save or copy it again: %w", err)
}
