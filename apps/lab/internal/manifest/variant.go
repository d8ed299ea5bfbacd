package manifest

import (
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
)

// Variant is an overlay with components added, in a namespace of its
// own. It exists in memory only. To deploy one, add the components by hand.
type Variant struct {
	Name       string
	Overlay    string   // a directory of overlays/
	Components []string // directories, relative to the checkout
	// Asked says that a run takes it only if somebody asks for it, by its name or by an
	// experiment about TLS: the servers of such a variant have certificates.
	Asked bool
}

// TLSSecret is the Secret with certificates that the component tls lets pods mount: tls.crt,
// tls.key and ca.crt, as cert-manager writes them.
const TLSSecret = "echo-tls"

const (
	maxAge  = "base/components/max-connection-age"
	withTLS = "base/components/tls"
)

// Variants are the variants that can be rendered by their names.
var Variants = []Variant{
	{Name: "l4-max-age", Overlay: "l4", Components: []string{maxAge}},
	{Name: "dns-max-age", Overlay: "dns", Components: []string{maxAge}},
	{Name: "l4-tls", Overlay: "l4", Components: []string{withTLS}, Asked: true},
	{Name: "dns-tls", Overlay: "dns", Components: []string{withTLS}, Asked: true},
	{Name: "k8s-api-tls", Overlay: "k8s-api", Components: []string{withTLS}, Asked: true},
	{Name: "envoy-tls", Overlay: "envoy", Components: []string{"overlays/envoy/tls"}, Asked: true},
}

// IsAsked tells whether the name is of a variant that a run takes only if somebody asks for it.
func IsAsked(name string) bool {
	return slices.ContainsFunc(Variants, func(v Variant) bool { return v.Name == name && v.Asked })
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
			c.Outer.Components = append(c.Outer.Components, path.Join("..", component))
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
