package release

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Digests is the file that records the digests of releases, relative to the checkout.
const Digests = "base/components/release/digests.yaml"

const recordHead = "# The digests of the releases: `lab release` adds them, and `lab check` holds images to them.\n"

// Record holds the digest of each program by the releases' tags. It keeps all
// releases that were not reverted: a digest that is left under a later tag, or copied
// with a file, may be of any of them.
type Record map[string]map[string]string

// ReadRecord returns the record of a checkout. One without the file has none.
func ReadRecord(root string) (Record, error) {
	content, err := os.ReadFile(filepath.Join(root, Digests))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	record := Record{}
	if err := yaml.UnmarshalStrict(content, &record); err != nil {
		return nil, fmt.Errorf("%s: %s", Digests, strings.Join(strings.Fields(err.Error()), " "))
	}
	return record, nil
}

func (r Record) bytes() ([]byte, error) {
	content, err := yaml.Marshal(r)
	return append([]byte(recordHead), content...), err
}

// add records a release. It returns the programs of which the tag had another digest,
// as in a fork that releases a tag anew. A digest belongs to one program.
func (r Record) add(release Release) (replaced []string, err error) {
	for _, program := range slices.Sorted(maps.Keys(release.Digests)) {
		digest := release.Digests[program]
		if recorded := r[release.Tag][program]; recorded != "" && recorded != digest {
			replaced = append(replaced, program)
		}
		if whose, tags := r.find(digest, program); whose != "" && whose != program {
			return nil, fmt.Errorf("%s: %s is recorded for %s %s: give each program its own digest", program, digest, whose, strings.Join(tags, ", "))
		}
	}
	r[release.Tag] = release.Digests
	return replaced, nil
}

// Problem says what is wrong with an image's tag and digest, or "". A digest that is
// not recorded may be anyone's, unless the image is released here.
//
// The tag may be empty. An image that did not change has one digest in two releases.
func (r Record) Problem(name, tag, digest string, released bool) string {
	program := name[strings.LastIndex(name, "/")+1:]
	recorded := r[tag][program]
	switch whose, tags := r.find(digest, program); {
	case digest == recorded:
		return ""
	case digest == "" && released:
		return fmt.Sprintf("has no digest, and %s is recorded with %s", tag, recorded)
	case digest == "":
		return ""
	case whose != "" && whose != program:
		return fmt.Sprintf("has the digest of %s %s", whose, strings.Join(tags, ", "))
	case whose != "" && tag != "":
		return fmt.Sprintf("has the digest of %s", strings.Join(tags, ", "))
	case whose == "" && released && tag != "" && recorded == "":
		return fmt.Sprintf("has a digest that is not recorded for %s", tag)
	case whose == "" && released && tag != "":
		return fmt.Sprintf("has another digest than %s, which is recorded for %s", recorded, tag)
	}
	return ""
}

// find returns the program that has the digest, first where it is one of several,
// and in which releases.
func (r Record) find(digest, first string) (program string, tags []string) {
	of := map[string][]string{}
	for _, tag := range slices.Sorted(maps.Keys(r)) {
		for program, its := range r[tag] {
			if its == digest {
				of[program] = append(of[program], tag)
			}
		}
	}
	if of[first] == nil && len(of) > 0 {
		first = slices.Min(slices.Collect(maps.Keys(of)))
	}
	if of[first] == nil {
		return "", nil
	}
	return first, of[first]
}
