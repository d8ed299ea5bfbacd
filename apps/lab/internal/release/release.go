package release

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// Component is the kustomization that names the release, relative to the checkout.
const Component = "base/components/release/kustomization.yaml"

// Read returns the released images of a checkout.
func Read(root string) ([]types.Image, error) {
	content, err := os.ReadFile(filepath.Join(root, Component))
	if err != nil {
		return nil, err
	}
	images, err := Images(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Component, err)
	}
	return images, nil
}

// Release is a version of all programs.
type Release struct {
	Registry string // HOST/OWNER; "" leaves it as it is
	Tag      string
	Digests  map[string]string // by program
}

var (
	tagForm    = regexp.MustCompile(`^\w[\w.-]{0,127}$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// registryForm is a host, with a port or not, and a path, in the letters of the
	// OCI distribution specification.
	registryForm = regexp.MustCompile(`^[a-z0-9.-]+(?::\d+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+$`)
)

// ParseRegistry returns HOST/OWNER in the small letters that registries want.
func ParseRegistry(text string) (string, error) {
	registry := strings.ToLower(text)
	host, _, _ := strings.Cut(registry, "/")
	if !registryForm.MatchString(registry) || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "", fmt.Errorf("registry %q: expected HOST/OWNER, such as ghcr.io/me", text)
	}
	return registry, nil
}

// ParseDigests reads PROGRAM=DIGEST.
func ParseDigests(texts []string) (map[string]string, error) {
	digests := map[string]string{}
	for _, text := range texts {
		program, digest, ok := strings.Cut(text, "=")
		if !ok || !digestForm.MatchString(digest) {
			return nil, fmt.Errorf("%q: expected PROGRAM=sha256: and 64 digits, hexadecimal and small", text)
		}
		if _, twice := digests[program]; twice {
			return nil, fmt.Errorf("%q: %s has a digest already: give each program once", text, program)
		}
		for other, its := range digests {
			if its == digest {
				return nil, fmt.Errorf("%q: that is the digest of %s: give each program its own", text, other)
			}
		}
		digests[program] = digest
	}
	return digests, nil
}

// Set makes the checkout deploy a release, and records its digests. It may be
// called again. It returns the programs of which the tag was recorded with another
// digest.
func Set(root string, r Release) (replaced []string, err error) {
	if !tagForm.MatchString(r.Tag) || r.Tag == "latest" {
		return nil, fmt.Errorf("tag %q: expected one of a release, such as v0.2.0", r.Tag)
	}
	images, err := Read(root)
	if err != nil {
		return nil, err
	}
	var programs, missing []string
	for _, image := range images {
		programs = append(programs, image.Name)
		if r.Digests[image.Name] == "" {
			missing = append(missing, image.Name)
		}
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("%s names no images: restore it, by git checkout", Component)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no digest of %s: a release sets all of %s", strings.Join(missing, ", "), strings.Join(programs, ", "))
	}
	for program := range r.Digests {
		if !slices.Contains(programs, program) {
			return nil, fmt.Errorf("no program %q: expected %s", program, strings.Join(programs, ", "))
		}
	}
	record, err := ReadRecord(root)
	if err != nil {
		return nil, err
	}
	if replaced, err = record.add(r); err != nil {
		return nil, err
	}
	e := newEdits(root)
	e.edit(Component, func(content []byte) ([]byte, error) {
		return SetImages(content, func(image types.Image) types.Image {
			if r.Registry != "" {
				image.NewName = r.Registry + "/" + image.Name
			}
			image.NewTag, image.Digest = r.Tag, r.Digests[image.Name]
			return image
		})
	})
	e.edit(Digests, func([]byte) ([]byte, error) { return record.bytes() })
	return replaced, e.write()
}
