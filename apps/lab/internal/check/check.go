package check

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Violation is one thing that is wrong with the checkout's manifests.
type Violation struct {
	Rule   string `json:"rule"`
	Family Family `json:"family,omitempty"`
	// File is relative to the checkout: where the value is that is wrong, else
	// where the object is declared, else the kustomization that lacks something.
	File     string   `json:"file"`
	Object   string   `json:"object,omitempty"`   // as kubectl names it, "Deployment/echo-client"
	Overlays []string `json:"overlays,omitempty"` // those that have it, and variants
	Text     string   `json:"text"`
	Remedy   string   `json:"remedy"`
}

func (v Violation) String() string {
	parts := slices.DeleteFunc([]string{v.File, v.Object, v.Text}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ") + " (" + v.Rule + ")"
}

// Checkout judges the named overlays and variants by all rules, or without names
// all of them and Argo CD's files. It returns all violations, sorted by file,
// object and rule. A name that does not exist is an *UnknownError.
func Checkout(r *manifest.Repository, names ...string) ([]Violation, error) {
	everything := len(names) == 0
	if everything {
		var err error
		if names, err = r.Checked(); err != nil {
			return nil, err
		}
	}
	var found []Violation
	overlays, effects := map[string][]manifest.Object{}, map[string]bool{}
	for _, name := range names {
		t, err := newTree(r, name)
		if err != nil {
			return nil, err
		}
		t.effects = effects
		found = append(found, t.check()...)
		if !t.from.IsVariant() {
			overlays[name] = t.Objects
		}
	}
	// Argo CD's files are compared with what the overlays render: all of them.
	if everything && !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == kustomizeBuildRule.Name }) {
		found = append(found, checkArgoCD(r, overlays)...)
	}
	return merged(found), nil
}

// Manifests judges manifests of any origin by the rules about balancing.
func Manifests(rendered []byte) ([]Violation, []balance.Path, error) {
	objects, undecoded, err := manifest.DecodeAll(rendered)
	if err != nil {
		return nil, nil, err
	}
	var found []Violation
	for _, e := range undecoded {
		found = append(found, strictFieldsRule.violation("", e.Object, "", manifest.OneLine(e.Err)))
	}
	found = merged(append(found, judgeObjects(manifest.Rendering{Objects: objects}, origins{})...))
	return Only(Balancing, found), balance.Foreign(objects).Paths(), nil
}

// Only returns the violations of the rules of one family.
func Only(family Family, found []Violation) []Violation {
	return slices.DeleteFunc(slices.Clone(found), func(v Violation) bool { return v.Family != family })
}

// With has judge look at every object of an overlay, as an API server does,
// and returns what it refuses as violations of a rule of that name.
func With(r *manifest.Repository, rule Rule, name string, judge func(*unstructured.Unstructured) error) ([]Violation, error) {
	t, err := newTree(r, name)
	if err != nil || t.rendered == nil {
		return nil, err // Check says why it does not render
	}
	objects, err := manifest.Unstructured(t.rendered)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, o := range objects {
		if err := judge(o); err != nil {
			object := manifest.Describe(o)
			found = append(found, rule.violation(t.origins.file(object, ""), object, name, manifest.OneLine(err)))
		}
	}
	return merged(found), nil
}

// merged sorts violations, and makes one of those that overlays have in common.
func merged(found []Violation) []Violation {
	// A tree that does not render comes first: what follows may be due to that.
	broken := func(v Violation) int {
		if v.Rule == kustomizeBuildRule.Name {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(broken(a), broken(b)), strings.Compare(a.File, b.File), strings.Compare(a.Object, b.Object), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Text, b.Text))
	})
	var all []Violation
	for _, v := range found {
		if last := len(all) - 1; last >= 0 && all[last].String() == v.String() {
			all[last].Overlays = append(all[last].Overlays, v.Overlays...)
			continue
		}
		all = append(all, v)
	}
	for i, v := range all {
		if at := slices.IndexFunc(Rules, func(r Rule) bool { return r.Name == v.Rule }); at >= 0 {
			all[i].Family = Rules[at].Family
		}
		slices.Sort(v.Overlays)
		all[i].Overlays = slices.Compact(v.Overlays)
	}
	return all
}

// tree is what the rules judge of one overlay or variant: its kustomizations
// and, where they can be rendered, its objects.
type tree struct {
	manifest.Rendering
	repository *manifest.Repository
	from       manifest.Composition
	sources    []manifest.Kustomization
	broken     []error // what keeps it from being rendered, or kubectl warns of
	rendered   []byte
	undecoded  []manifest.ObjectError
	origins    origins
	effects    map[string]bool // see hasEffect; shared by the trees of one Check
}

func newTree(r *manifest.Repository, name string) (*tree, error) {
	from, err := r.Composition(name)
	if err != nil {
		return nil, err
	}
	t := &tree{Rendering: manifest.Rendering{Name: name}, repository: r, from: from, effects: map[string]bool{}}
	for _, dir := range from.Dirs() {
		sources, errs := r.AllSources(dir)
		t.sources, t.broken = append(t.sources, sources...), append(t.broken, errs...)
	}
	file, err := r.KustomizationFile(from.Dir)
	if err != nil {
		file = path.Join(from.Dir, "kustomization.yaml") // AllSources says what is wrong
	}
	t.origins = originsOf(r, file, t.sources)
	if len(t.broken) > 0 {
		return t, nil
	}
	if t.rendered, err = r.Render(name); err != nil {
		t.broken = append(t.broken, err)
		return t, nil
	}
	t.Objects, t.undecoded, err = manifest.DecodeAll(t.rendered)
	return t, err
}

func (t *tree) check() []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.tree != nil {
			rule.tree(t, func(file, object, format string, args ...any) {
				found = append(found, rule.violation(file, object, t.Name, fmt.Sprintf(format, args...)))
			})
		}
	}
	if t.rendered != nil {
		found = append(found, judgeObjects(t.Rendering, t.origins)...)
	}
	return found
}

func judgeObjects(r manifest.Rendering, from origins) []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.objects != nil {
			rule.objects(r, rule.reporter(&found, r.Name, from))
		}
	}
	for _, f := range findings(r) {
		for _, rule := range Rules {
			if rule.finding && rule.Name == f.Name {
				rule.reporter(&found, r.Name, from)(f.Object, f.Value, "%s", f.Seen)
			}
		}
	}
	return found
}

// Objects reports everything that is wrong with the objects that the named
// overlay renders, sorted, or nil.
func Objects(name string, objects []manifest.Object) error {
	return join("overlay "+name, judgeObjects(manifest.Rendering{Name: name, Objects: objects}, origins{}))
}

// join returns one error that holds all violations, or nil.
func join(subject string, found []Violation) error {
	var errs []error
	for _, v := range merged(found) {
		errs = append(errs, fmt.Errorf("%s: %v", subject, v))
	}
	return errors.Join(errs...)
}

// checkArgoCD judges argocd/ by all rules.
func checkArgoCD(r *manifest.Repository, overlays map[string][]manifest.Object) []Violation {
	const file = "argocd/kustomization.yaml"
	broken := func(errs ...error) []Violation {
		return (&tree{repository: r, broken: errs, origins: origins{overlay: file}}).check()
	}
	sources, errs := r.AllSources("argocd")
	if len(errs) > 0 {
		return broken(errs...)
	}
	rendered, err := r.RenderDir("argocd")
	if err != nil {
		return broken(err)
	}
	root, err := r.Read("argocd/root.yaml")
	if err != nil {
		return broken(err)
	}
	from := originsOf(r, file, sources)
	for _, object := range objectsIn(string(root)) {
		from.all = append(from.all, origin{file: "argocd/root.yaml", object: object, declared: true})
	}
	return judgeArgoCD(manifest.ReadArgoCD(rendered, root, overlays), from)
}

// ArgoCD reports everything in which Argo CD's files differ from the
// overlays: argocd is the rendering of argocd/, root the content of
// argocd/root.yaml, overlays the objects of each overlay by name.
func ArgoCD(argocd, root []byte, overlays map[string][]manifest.Object) error {
	return join("argocd", judgeArgoCD(manifest.ReadArgoCD(argocd, root, overlays), origins{}))
}

func judgeArgoCD(a *manifest.ArgoCD, from origins) []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.argocd != nil {
			rule.argocd(a, rule.reporter(&found, "", from))
		}
	}
	return found
}
