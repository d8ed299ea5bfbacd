package overlay

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Render returns what `kubectl kustomize overlays/<name>` prints, byte for byte.
// What kubectl only warns of is an error.
func (r *Repository) Render(name string) ([]byte, error) {
	dir, err := r.path(name)
	if err != nil {
		return nil, err
	}
	return r.RenderDir(dir)
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

// RenderWithImages is Render with other images: images maps an image's name in
// the rendering, without tag and digest, to the reference that takes its place.
//
// It puts a kustomization that sets nothing but images around the overlay, as
// anyone would do by hand. A name that matches nothing is an error, although
// kustomize ignores it.
func (r *Repository) RenderWithImages(name string, images map[string]string) ([]byte, error) {
	dir, err := r.path(name)
	if err != nil {
		return nil, err
	}
	plain, err := r.RenderDir(dir)
	if err != nil {
		return nil, err
	}
	outer := types.Kustomization{Resources: []string{"../" + dir}}
	for _, from := range slices.Sorted(maps.Keys(images)) {
		to := images[from]
		repository, tag, digest := splitReference(to)
		if tag == "" && digest == "" {
			return nil, fmt.Errorf("overlay: image %q has neither tag nor digest", to)
		}
		outer.Images = append(outer.Images, types.Image{Name: from, NewName: repository, NewTag: tag, Digest: digest})
	}
	memory := filesys.MakeFsInMemory()
	for _, tree := range []string{"base", dir} {
		if err := r.copyTo(memory, tree); err != nil {
			return nil, fmt.Errorf("overlay: copying %s: %w", tree, err)
		}
	}
	content, err := yaml.Marshal(outer)
	if err != nil {
		return nil, fmt.Errorf("overlay: writing the outer kustomization: %w", err)
	}
	if err := memory.WriteFile("/outer/kustomization.yaml", content); err != nil {
		return nil, fmt.Errorf("overlay: writing the outer kustomization: %w", err)
	}
	out, err := Build(memory, "/outer")
	if err != nil {
		return nil, fmt.Errorf("rendering %s with other images: %s", dir, oneLine(err))
	}
	if err := replaced(plain, out, images); err != nil {
		return nil, fmt.Errorf("rendering %s with other images: %w", dir, err)
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
			if repository, _, _ := splitReference(image); repository != from {
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

// imagesOf returns the images of all containers, in the order of the rendering.
func imagesOf(rendered []byte) ([]string, error) {
	objects, err := Decode(rendered)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, w := range workloads(objects) {
		for _, c := range w.containers() {
			images = append(images, c.Image)
		}
	}
	return images, nil
}

// splitReference cuts name[:tag][@digest] into its parts.
func splitReference(reference string) (name, tag, digest string) {
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
		content, err := r.read(file)
		if err != nil {
			return err
		}
		return memory.WriteFile(path.Join("/", file), content)
	})
}

// relative folds an error into one line in which files are relative to the checkout.
func (r *Repository) relative(err error) string {
	return strings.ReplaceAll(oneLine(err), r.root+string(filepath.Separator), "")
}
