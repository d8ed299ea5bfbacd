package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// held is an image in an archive.
type held struct {
	// names are as nodeName returns them, or as they are found where they are
	// no references.
	names []string
	// tag is all that an OCI layout need say of the name.
	tag string
	// digests are the image's own and those of the indexes that list it.
	digests  []v1.Hash
	platform v1.Platform
	open     func() (v1.Image, error)
}

// choose returns the image with that name for a platform. Where no image
// has more of a name than the tag, the user's word for it is enough.
func choose(all []held, ref name.Reference, want v1.Platform) (held, error) {
	found := filter(all, func(h held) bool { return h.is(ref) })
	anonymous := len(found) == 0 && !slices.ContainsFunc(all, func(h held) bool { return !h.mayBe(ref) })
	if anonymous {
		found = all
	}
	if len(all) == 0 {
		return held{}, errors.New("the archive holds no image")
	}
	if len(found) == 0 {
		return held{}, fmt.Errorf("the archive does not hold %s but %s: give it by a name that it has", ref, list(all, held.shown))
	}
	run := filter(found, func(h held) bool { return h.platform.Satisfies(want) })
	if len(run) == 0 {
		return held{}, fmt.Errorf("the image is for %s: want one for %s", list(found, func(h held) string { return h.platform.String() }), want)
	}
	if anonymous && len(run) > 1 {
		return held{}, fmt.Errorf("the archive holds %d images for %s and none has a name: want one", len(run), want)
	}
	return run[0], nil
}

func (h held) is(ref name.Reference) bool {
	if digest, ok := ref.(name.Digest); ok {
		return slices.ContainsFunc(h.digests, func(d v1.Hash) bool { return d.String() == digest.DigestStr() })
	}
	return slices.Contains(h.names, nodeName(ref))
}

func (h held) mayBe(ref name.Reference) bool {
	_, ok := ref.(name.Tag)
	return ok && len(h.names) == 0 && (h.tag == "" || h.tag == ref.Identifier())
}

// shown names the image in an error.
func (h held) shown() string {
	switch {
	case len(h.names) > 0:
		return strings.Join(h.names, ", ")
	case h.tag != "":
		return "an image with the tag " + h.tag
	case len(h.digests) > 0:
		return h.digests[0].String()
	}
	return "an image without a name"
}

// addName notes a name that is a reference, or a tag alone.
func (h *held) addName(text string) {
	switch parsed, err := parseRef(text); {
	case text == "":
	case err == nil:
		h.names = append(slices.Clip(h.names), nodeName(parsed))
	case strings.ContainsAny(text, "/:@"):
		h.names = append(slices.Clip(h.names), text)
	default:
		h.tag = text
	}
}

func filter(all []held, keep func(held) bool) (kept []held) {
	for _, h := range all {
		if keep(h) {
			kept = append(kept, h)
		}
	}
	return kept
}

// list joins different texts of images.
func list(all []held, text func(held) string) string {
	var texts []string
	for _, h := range all {
		texts = append(texts, text(h))
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}
