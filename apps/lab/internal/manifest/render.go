package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Render returns what `kubectl kustomize overlays/<name>` prints, byte for byte,
// or for a variant what kubectl prints of the overlay with the components added.
// What kubectl only warns of is an error.
func (r *Repository) Render(name string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if out, ok := r.rendered[name]; ok {
		return slices.Clone(out), nil
	}
	out, err := r.render(name)
	if err == nil {
		r.rendered[name] = slices.Clone(out)
	}
	return out, err
}

func (r *Repository) render(name string) ([]byte, error) {
	from, err := r.Composition(name)
	if err != nil {
		return nil, err
	}
	if !from.IsVariant() {
		return r.RenderDir(from.Dir)
	}
	for _, dir := range from.Dirs() {
		if _, err := r.Sources(dir); err != nil {
			return nil, fmt.Errorf("rendering %s: %w", name, err)
		}
	}
	out, err := r.RenderComposition(from, nil)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out, nil
}

// RenderDir is Render for any directory of the checkout, such as argocd.
func (r *Repository) RenderDir(dir string) ([]byte, error) {
	if _, err := r.Sources(dir); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", dir, err)
	}
	out, err := Build(filesys.MakeFsOnDisk(), filepath.Join(r.root, dir))
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %s", dir, r.relative(err))
	}
	return out, nil
}

// ArgoCDDir is the directory of Argo CD's files.
const ArgoCDDir = "argocd"

// RenderUnit renders what is deployed as one: an overlay, a variant, or argocd/.
func (r *Repository) RenderUnit(name string) ([]byte, error) {
	if name == ArgoCDDir {
		return r.RenderDir(ArgoCDDir)
	}
	return r.Render(name)
}

// RenderWarned is RenderUnit that returns what kubectl only warns of beside the
// rendering.
func (r *Repository) RenderWarned(name string) (out []byte, warnings []string, err error) {
	from := Plain(name)
	if name != ArgoCDDir {
		if from, err = r.Composition(name); err != nil {
			return nil, nil, err
		}
	}
	for _, dir := range from.Dirs() {
		_, errs := r.AllSources(dir)
		for _, err := range errs {
			if e, ok := errors.AsType[*FileError](err); !ok || !e.Warning {
				return nil, nil, fmt.Errorf("rendering %s: %w", name, err)
			}
			warnings = append(warnings, err.Error())
		}
	}
	if !from.IsVariant() {
		out, err = Build(filesys.MakeFsOnDisk(), filepath.Join(r.root, from.Dir))
	} else {
		out, err = r.RenderComposition(from, nil)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("rendering %s: %s", name, r.relative(err))
	}
	return out, warnings, nil
}

// RenderWithImages is Render with other images: images maps an image's name in
// the rendering, without tag and digest, to the reference that takes its place.
//
// It puts a kustomization that sets nothing but images around the overlay, as
// anyone would do by hand. A name that matches nothing is an error, although
// kustomize ignores it; Images tells which would match.
func (r *Repository) RenderWithImages(name string, images map[string]string) ([]byte, error) {
	from, err := r.Composition(name)
	if err != nil {
		return nil, err
	}
	plain, err := r.Render(name)
	if err != nil {
		return nil, err
	}
	for _, old := range slices.Sorted(maps.Keys(images)) {
		repository, tag, digest := SplitReference(images[old])
		if tag == "" && digest == "" {
			return nil, fmt.Errorf("manifest: image %q has neither tag nor digest", images[old])
		}
		from.Outer.Images = append(from.Outer.Images, types.Image{Name: old, NewName: repository, NewTag: tag, Digest: digest})
	}
	out, err := r.RenderComposition(from, nil)
	if err == nil {
		err = replaced(plain, out, images)
	}
	if err != nil {
		return nil, fmt.Errorf("rendering %s with other images: %w", name, err)
	}
	return out, nil
}

// RenderComposition renders a composition in memory. The content of edited, by
// path relative to the checkout, replaces that of the files.
func (r *Repository) RenderComposition(from Composition, edited map[string][]byte) ([]byte, error) {
	memory := filesys.MakeFsInMemory()
	for _, tree := range []string{"base", "overlays"} {
		if err := r.copyTo(memory, tree); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("copying %s: %w", tree, err)
		}
	}
	for file, content := range edited {
		if err := memory.WriteFile(path.Join("/", file), content); err != nil {
			return nil, fmt.Errorf("changing %s: %w", file, err)
		}
	}
	content, err := yaml.Marshal(from.Outer)
	if err != nil {
		return nil, fmt.Errorf("writing the outer kustomization: %w", err)
	}
	if err := memory.WriteFile("/outer/kustomization.yaml", content); err != nil {
		return nil, fmt.Errorf("writing the outer kustomization: %w", err)
	}
	out, err := Build(memory, "/outer")
	if err != nil {
		return nil, errors.New(OneLine(err))
	}
	return out, nil
}

// Build renders a directory as kubectl does, with no check of its own.
func Build(files filesys.FileSystem, dir string) ([]byte, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // as the CLI: its default sorts
	resources, err := krusty.MakeKustomizer(options).Run(files, dir)
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}

// BuildFiles renders files of one directory, by name, which hold a kustomization.
func BuildFiles(files map[string][]byte) ([]*unstructured.Unstructured, error) {
	memory := filesys.MakeFsInMemory()
	for name, content := range files {
		if err := memory.WriteFile(path.Join("/", name), content); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	rendered, err := Build(memory, "/")
	if err != nil {
		return nil, err
	}
	return Unstructured(rendered)
}

// replaced reports the images that are in plain and not replaced in out.
func replaced(plain, out []byte, images map[string]string) error {
	before, err := imagesOf(plain)
	if err != nil {
		return err
	}
	after, err := imagesOf(out)
	if err != nil {
		return err
	}
	for _, from := range slices.Sorted(maps.Keys(images)) {
		found := false
		for i, image := range before {
			if repository, _, _ := SplitReference(image); repository != from {
				continue
			}
			found = true
			if after[i] != images[from] {
				return fmt.Errorf("image %q became %q, expected %q", image, after[i], images[from])
			}
		}
		if !found {
			return fmt.Errorf("no container has an image named %q: it has %s", from, strings.Join(before, ", "))
		}
	}
	return nil
}

// Images returns the image references of all containers in a rendering, init
// containers included, sorted, each once.
func Images(rendered []byte) ([]string, error) {
	all, err := imagesOf(rendered)
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// imagesOf returns the images of all containers, in the order of the rendering.
func imagesOf(rendered []byte) ([]string, error) {
	objects, err := Decode(rendered)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, w := range Workloads(objects) {
		for _, c := range w.Containers() {
			images = append(images, c.Image)
		}
	}
	return images, nil
}

// SplitReference cuts name[:tag][@digest] into its parts.
func SplitReference(reference string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(reference, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name, tag = name[:colon], name[colon+1:]
	}
	return name, tag, digest
}

// copyTo copies a directory of the checkout to the same path below / in memory.
func (r *Repository) copyTo(memory filesys.FileSystem, dir string) error {
	return fs.WalkDir(os.DirFS(r.root), dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := r.Read(file)
		if err != nil {
			return err
		}
		return memory.WriteFile(path.Join("/", file), content)
	})
}

// relative folds an error into one line in which files are relative to the checkout.
func (r *Repository) relative(err error) string {
	return strings.ReplaceAll(OneLine(err), r.root+string(filepath.Separator), "")
}
