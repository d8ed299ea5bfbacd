package component

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Digests is the file that records what was published, relative to the checkout.
// Nothing else says what may be fetched.
const Digests = "apps/lab/components/digests.yaml"

const recordHead = "# What `lab components push` published: `lab components record` adds it. The lab runs nothing that it fetches without.\n"

// Published is a component in a registry.
type Published struct {
	Platform  string `json:"-"`
	Component string `json:"-"`
	// Key is the hash of what it was built from, Digest that of its manifest.
	Key    string `json:"key"`
	Digest string `json:"digest"`
}

// String is one line of what is published, as ReadPublished takes it.
func (p Published) String() string {
	return strings.Join([]string{p.Platform, p.Component, p.Key, p.Digest}, " ")
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ReadPublished reads lines as String writes them.
func ReadPublished(from io.Reader) (all []Published, err error) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) != 4 || !digestForm.MatchString(f[3]) {
			return nil, fmt.Errorf("component: %q: expected PLATFORM COMPONENT KEY and a digest, as `lab components push` prints them", lines.Text())
		}
		all = append(all, Published{f[0], f[1], f[2], f[3]})
	}
	return all, lines.Err()
}

// record holds what is published, by platform and component.
type record map[string]map[string]Published

func readRecord(root string) (record, error) {
	content, err := os.ReadFile(filepath.Join(root, Digests))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("component: %w", err)
	}
	r := record{}
	if err := yaml.UnmarshalStrict(content, &r); err != nil {
		return nil, fmt.Errorf("component: %s: %s", Digests, strings.Join(strings.Fields(err.Error()), " "))
	}
	for platform, of := range r {
		for name, p := range of {
			if !digestForm.MatchString(p.Digest) {
				return nil, fmt.Errorf("component: %s: %s of %s has the digest %q: expected sha256: and 64 digits, hexadecimal and small", Digests, name, platform, p.Digest)
			}
		}
	}
	return r, nil
}

// Record adds what was published to the file of the checkout and drops what is of
// other sources. It returns what it did not take for that reason.
func Record(root string, all []Published) (others []Published, err error) {
	r, err := readRecord(root)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if r[p.Platform] == nil {
			r[p.Platform] = map[string]Published{}
		}
		r[p.Platform][p.Component] = p
	}
	for platform, of := range r {
		for name, p := range of {
			current, err := currentKey(root, platform, name)
			if err != nil {
				return nil, err
			}
			if p.Key != current {
				delete(of, name)
			}
		}
		if len(of) == 0 {
			delete(r, platform)
		}
	}
	for _, p := range all {
		if r[p.Platform][p.Component].Key != p.Key {
			others = append(others, p)
		}
	}
	content, err := yaml.Marshal(r)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(root, Digests)
	part := file + ".part" // nobody ever reads half of it
	if err := os.WriteFile(part, append([]byte(recordHead), content...), 0o644); err != nil {
		return nil, err
	}
	return others, os.Rename(part, file)
}

// currentKey returns the key of a component of this checkout, or "" where it has none
// of that name.
func currentKey(root, platform, name string) (string, error) {
	on, err := ParsePlatform(platform)
	if err != nil {
		return "", err
	}
	all := slices.Concat(Groups...)
	i := slices.IndexFunc(all, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return "", nil
	}
	version, err := all[i].Version(root)
	if err != nil {
		return "", err
	}
	return all[i].key(root, version, on)
}
