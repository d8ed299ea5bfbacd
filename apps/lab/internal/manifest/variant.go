package manifest

import (
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
)

// Variant is an overlay with components of base added, in a namespace of its
// own. It exists in memory only. To deploy one, add the components by hand.
type Variant struct {
	Name       string
	Overlay    string   // a directory of overlays/
	Components []string // directories of base/components/
}

// Variants are the variants that can be rendered by their names.
var Variants = []Variant{
	{Name: "l4-max-age", Overlay: "l4", Components: []string{"max-connection-age"}},
	{Name: "dns-max-age", Overlay: "dns", Components: []string{"max-connection-age"}},
}

// Composition is what a name stands for: an overlay's directory and, for a
// variant, the kustomization around it.
type Composition struct {
	Dir   string // relative to the checkout
	Outer types.Kustomization
}

// Plain returns the composition of a directory, relative to the checkout, with
// nothing around it.
func Plain(dir string) Composition {
	return Composition{Dir: dir, Outer: types.Kustomization{Resources: []string{"../" + dir}}}
}

// IsVariant says whether components are added to the overlay.
func (c Composition) IsVariant() bool { return len(c.Outer.Components) > 0 }

// Dirs returns the directories that the composition is made of, relative to the
// checkout: those of the added components, and the overlay's.
func (c Composition) Dirs() []string {
	var dirs []string
	for _, component := range c.Outer.Components {
		dirs = append(dirs, path.Clean(path.Join("outer", component)))
	}
	return append(dirs, c.Dir)
}

// Composition returns what the name of an overlay or a variant stands for. Its
// error is an *UnknownError where there is neither.
func (r *Repository) Composition(name string) (Composition, error) {
	names, err := r.List()
	if err != nil {
		return Composition{}, err
	}
	if slices.Contains(names, name) {
		return Plain(path.Join("overlays", name)), nil
	}
	for _, v := range Variants {
		if v.Name != name {
			continue
		}
		c, err := r.Composition(v.Overlay)
		if err != nil {
			return Composition{}, err
		}
		for _, component := range v.Components {
			c.Outer.Components = append(c.Outer.Components, path.Join("../base/components", component))
		}
		c.Outer.Namespace = Namespace(name)
		return c, nil
	}
	all, err := r.All()
	if err != nil {
		return Composition{}, err
	}
	return Composition{}, &UnknownError{Name: name, Known: all}
}
