package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Violation is one thing that is wrong with the checkout's manifests.
type Violation struct {
	Rule string `json:"rule"`
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

// Check judges the named overlays and variants by all rules, or without names
// all of them and Argo CD's files. It returns all violations, sorted by file,
// object and rule. A name that does not exist is an *UnknownError.
func (r *Repository) Check(names ...string) ([]Violation, error) {
	everything := len(names) == 0
	if everything {
		var err error
		if names, err = r.Checked(); err != nil {
			return nil, err
		}
	}
	var found []Violation
	overlays, effects := map[string][]Object{}, map[string]bool{}
	for _, name := range names {
		t, err := r.tree(name)
		if err != nil {
			return nil, err
		}
		t.effects = effects
		found = append(found, t.check()...)
		if t.from.outer.Components == nil {
			overlays[name] = t.objects
		}
	}
	if everything {
		found = append(found, r.checkArgoCD(overlays)...)
	}
	return merged(found), nil
}

// CheckWith has judge look at every object of an overlay, as an API server does,
// and returns what it refuses as violations of a rule of that name.
func (r *Repository) CheckWith(rule Rule, name string, judge func(*unstructured.Unstructured) error) ([]Violation, error) {
	t, err := r.tree(name)
	if err != nil || t.rendered == nil {
		return nil, err // Check says why it does not render
	}
	objects, err := Unstructured(t.rendered)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, o := range objects {
		if err := judge(o); err != nil {
			object := describe(o)
			found = append(found, rule.violation(t.origins.file(object, ""), object, name, oneLine(err)))
		}
	}
	return merged(found), nil
}

// merged sorts violations, and makes one of those that overlays have in common.
func merged(found []Violation) []Violation {
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Object, b.Object), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Text, b.Text))
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
		slices.Sort(v.Overlays)
		all[i].Overlays = slices.Compact(v.Overlays)
	}
	return all
}

// tree is what the rules judge of one overlay or variant: its kustomizations
// and, where they can be rendered, its objects.
type tree struct {
	rendering
	repository *Repository
	from       source
	sources    []Kustomization
	broken     []error // what keeps it from being rendered, or kubectl warns of
	rendered   []byte
	undecoded  []objectError
	origins    origins
	effects    map[string]bool // see hasEffect; shared by the trees of one Check
}

// rendering is an overlay's name and its objects.
type rendering struct {
	name    string
	objects []Object
}

func (r *Repository) tree(name string) (*tree, error) {
	from, err := r.find(name)
	if err != nil {
		return nil, err
	}
	t := &tree{rendering: rendering{name: name}, repository: r, from: from, effects: map[string]bool{}}
	for _, dir := range append(from.components(), from.dir) {
		sources, errs := r.sources(dir)
		t.sources, t.broken = append(t.sources, sources...), append(t.broken, errs...)
	}
	t.origins = r.origins(path.Join(from.dir, "kustomization.yaml"), t.sources)
	if len(t.broken) > 0 {
		return t, nil
	}
	if t.rendered, err = r.Render(name); err != nil {
		t.broken = append(t.broken, err)
		return t, nil
	}
	t.objects, t.undecoded, err = decode(t.rendered)
	return t, err
}

func (t *tree) check() []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.tree != nil {
			rule.tree(t, func(file, object, format string, args ...any) {
				found = append(found, rule.violation(file, object, t.name, fmt.Sprintf(format, args...)))
			})
		}
	}
	if t.rendered != nil {
		found = append(found, t.rendering.check(t.origins)...)
	}
	return found
}

func (r rendering) check(from origins) []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.objects != nil {
			rule.objects(r, rule.reporter(&found, r.name, from))
		}
	}
	return found
}

// Check reports everything that is wrong with the objects that the named
// overlay renders, sorted, or nil.
func Check(name string, objects []Object) error {
	return join("overlay "+name, rendering{name, objects}.check(origins{}))
}

// join returns one error that holds all violations, or nil.
func join(subject string, found []Violation) error {
	var errs []error
	for _, v := range merged(found) {
		errs = append(errs, fmt.Errorf("%s: %v", subject, v))
	}
	return errors.Join(errs...)
}

// origins are the files that an overlay's objects are made of, outermost first.
type origins struct {
	overlay string // the overlay's kustomization
	all     []origin
}

// origin is one file that makes an object, or changes it.
type origin struct {
	file, object string
	// any says that the file may change every object, generated that the object's
	// name has a hash after it, declared that the object would not be without it.
	any, generated, declared bool
	content                  string
}

func (o origin) touches(object string) bool {
	switch {
	case o.any:
		return true
	case o.generated:
		return strings.HasPrefix(object, o.object+"-")
	case strings.HasPrefix(o.object, "Namespace/"): // each overlay renames it
		return strings.HasPrefix(object, "Namespace/")
	default:
		return object == o.object
	}
}

// has says whether the file may be where a value comes from.
func (o origin) has(value string) bool {
	if o.any { // its content is a value a line
		return strings.Contains(o.content+"\n", "\n"+value+"\n")
	}
	return strings.Contains(o.content, value)
}

// file returns the outermost file that puts a value into an object, else the
// one that declares the object, else the overlay's kustomization.
func (from origins) file(object, value string) string {
	file := from.overlay
	for _, o := range from.all {
		if !o.touches(object) {
			continue
		}
		if value != "" && o.has(value) {
			return o.file
		}
		if o.declared {
			file = o.file
		}
	}
	return file
}

// origins reads the files that kustomizations name; what is broken in them is
// not its business.
func (r *Repository) origins(overlay string, sources []Kustomization) origins {
	from := origins{overlay: overlay}
	for _, k := range sources {
		dir := path.Dir(k.File)
		read := func(name string) string {
			content, _ := os.ReadFile(filepath.Join(r.root, dir, name))
			return string(content)
		}
		add := func(name, content string, declared bool) {
			for _, object := range objectsIn(content) {
				from.all = append(from.all, origin{file: path.Join(dir, name), object: object, declared: declared, content: content})
			}
		}
		for _, p := range k.Patches {
			content := read(p.Path)
			add(p.Path, content, false)
			if p.Target != nil {
				from.all = append(from.all, origin{file: path.Join(dir, p.Path), object: p.Target.Kind + "/" + p.Target.Name, content: content})
			}
		}
		transforms := []string{"", k.Namespace}
		for _, i := range k.Images {
			transforms = append(transforms, i.Name, i.NewName, i.NewTag, i.Digest)
		}
		from.all = append(from.all, origin{file: k.File, any: true, content: strings.Join(transforms, "\n")})
		for _, g := range k.ConfigMapGenerator {
			for _, name := range g.FileSources {
				name = name[strings.LastIndex(name, "=")+1:] // of key=file
				from.all = append(from.all, origin{file: path.Join(dir, name), object: "ConfigMap/" + g.Name, generated: true, declared: true, content: read(name)})
			}
		}
		for _, name := range k.Resources {
			add(name, read(name), true) // a directory has no content, and sources of its own
		}
	}
	return from
}

// objectsIn names the objects of a file of YAML.
func objectsIn(content string) []string {
	objects, _ := Unstructured([]byte(content))
	var all []string
	for _, o := range objects {
		all = append(all, describe(o))
	}
	return all
}

// setting returns the value of --name=value among a container's arguments, else
// of the variable NAME, or "": programs of others have flags of their own.
func setting(c corev1.Container, name string) string {
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	for _, env := range c.Env {
		if env.Name == variable {
			return env.Value
		}
	}
	return ""
}
