package diff

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// ArgoCD is the name of what is rendered from argocd/, with root.yaml, which is
// applied by hand.
const ArgoCD = "argocd"

// Names returns what can be compared: first what is deployed, the overlays of
// any of the checkouts and argocd, and then the variants.
func Names(checkouts ...*manifest.Repository) (deployed, variants []string, err error) {
	for _, c := range checkouts {
		names, err := c.List()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		deployed = append(deployed, names...)
	}
	slices.Sort(deployed)
	deployed = append(slices.Compact(deployed), ArgoCD)
	for _, v := range manifest.Variants {
		variants = append(variants, v.Name)
	}
	return deployed, variants, nil
}

// Choose returns the names that were asked for, each once, or all that is
// deployed. An unknown name is an error.
func Choose(asked []string, checkouts ...*manifest.Repository) ([]string, error) {
	deployed, variants, err := Names(checkouts...)
	if err != nil || len(asked) == 0 {
		return deployed, err
	}
	known := slices.Concat(deployed, variants)
	var names []string
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, &manifest.UnknownError{Name: name, Known: known}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Rendered renders the named units of two checkouts. A unit that did not render before
// is Skipped: its fault is not the change's.
func Rendered(before, after *manifest.Repository, names []string) ([]Unit, error) {
	var units []Unit
	ignored, admitted := after.Ignored(), after.Admitted()
	for _, name := range names {
		current, is, err := Render(after, name)
		if err != nil {
			return nil, err
		}
		u := Unit{Name: name, After: current, Ignored: ignored[name]}
		if name != ArgoCD {
			u.Admitted = admitted
		}
		var was bool
		u.Before, u.Warnings, was, err = render(before, name, before.RenderWarned)
		switch {
		case err != nil:
			u.Change, u.Reason = Skipped, fmt.Sprintf("it did not render before the change: %v", err)
		case is && !was:
			u.Change = Added
		case was && !is:
			u.Change = Removed
		}
		units = append(units, u)
	}
	return units, nil
}

// Render returns the objects of an overlay, a variant or argocd, and whether the
// checkout has it.
func Render(checkout *manifest.Repository, name string) (objects []*unstructured.Unstructured, exists bool, err error) {
	objects, _, exists, err = render(checkout, name, func(dir string) (out []byte, _ []string, err error) {
		out, err = checkout.RenderUnit(dir)
		return out, nil, err
	})
	return objects, exists, err
}

// render is Render by a function that takes the name, or ArgoCD.
func render(checkout *manifest.Repository, name string, by func(string) ([]byte, []string, error)) (objects []*unstructured.Unstructured, warnings []string, exists bool, err error) {
	for _, dir := range dirs(name) {
		if _, err := os.Stat(filepath.Join(checkout.Root(), dir)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, false, nil
		}
	}
	rendered, warnings, err := by(name)
	if err != nil {
		return nil, nil, false, err
	}
	if objects, err = manifest.Unstructured(rendered); err != nil || name != ArgoCD {
		return objects, warnings, true, err
	}
	root, err := os.ReadFile(filepath.Join(checkout.Root(), ArgoCD, "root.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return objects, warnings, true, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	top, err := manifest.Unstructured(root)
	if err != nil {
		return nil, nil, false, fmt.Errorf("argocd/root.yaml: %w", err)
	}
	return append(objects, top...), warnings, true, nil
}

// dirs returns the directories without which a checkout does not have the unit.
func dirs(name string) []string {
	if name == ArgoCD {
		return []string{ArgoCD}
	}
	for _, v := range manifest.Variants {
		if v.Name == name {
			return append([]string{path.Join("overlays", v.Overlay)}, v.Components...)
		}
	}
	return []string{path.Join("overlays", name)}
}
