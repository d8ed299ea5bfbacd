package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Change is what became of an overlay or of an object.
type Change string

// What may have become of it. An object is never Unchanged or Skipped: it is
// left out.
const (
	Unchanged Change = "unchanged"
	Changed   Change = "changed"
	Added     Change = "added"
	Removed   Change = "removed"
	Skipped   Change = "skipped" // could not be compared
)

// Unit is what is deployed as one, an overlay, a variant or argocd: what it is
// made of on both sides.
type Unit struct {
	Name          string
	Before, After []*unstructured.Unstructured
	// Change is Added or Removed where only one side has the unit at all, and
	// Skipped where Reason says why there is nothing to compare.
	Change Change
	Reason string
	// Refused holds, for objects of After, why the API server refuses them.
	Refused map[*unstructured.Unstructured]string
	// Ignored is what Argo CD leaves alone of objects that are there.
	Ignored manifest.Ignored
	// Admitted are the kinds that the AppProject admits; empty is all.
	Admitted []schema.GroupKind
	// Warnings are what kustomize says of the side before.
	Warnings []string
}

// Result is what differs. It is what `lab diff -o json` prints.
type Result struct {
	Before   string    `json:"before"` // one side in words, "commit 0123456, ..."
	After    string    `json:"after"`  // the other
	Overlays []Overlay `json:"overlays"`
}

// Overlay is what differs in one overlay, variant or argocd.
type Overlay struct {
	Name   string `json:"name"`
	Change Change `json:"change"`
	Reason string `json:"reason,omitempty"` // of Skipped
	// Warnings are about the side before, whose faults the change does not have to mend.
	Warnings []string `json:"warnings,omitempty"`
	Objects  []Object `json:"objects,omitempty"`
}

// Object is an object that differs.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	Change     Change `json:"change"`
	Note       string `json:"note,omitempty"`
	Refused    string `json:"refused,omitempty"` // by the API server, in its words
	Flags      []Flag `json:"flags,omitempty"`
	Diff       string `json:"diff"` // unified
}

// String names the object as kubectl does, with its namespace.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Differs tells whether anything differs.
func (r Result) Differs() bool {
	return slices.ContainsFunc(r.Overlays, Overlay.differs)
}

func (o Overlay) differs() bool { return o.Change != Unchanged && o.Change != Skipped }

// Flagged is an object's flag, and where it is.
type Flagged struct {
	Flag
	Overlay string
	Object  Object
}

func (f Flagged) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", f.Name, f.Overlay, f.Object, f.Text)
}

// Flagged returns the flags of the given names, or all without a name, in the
// order of the objects.
func (r Result) Flagged(names ...string) []Flagged {
	var all []Flagged
	for _, overlay := range r.Overlays {
		for _, object := range overlay.Objects {
			for _, f := range object.Flags {
				if len(names) == 0 || slices.Contains(names, f.Name) {
					all = append(all, Flagged{f, overlay.Name, object})
				}
			}
		}
	}
	return all
}

// Compare returns the differences of units, in their order. before and after
// say what the sides are.
func Compare(before, after string, units ...Unit) (Result, error) {
	r := Result{Before: before, After: after, Overlays: []Overlay{}}
	for _, u := range units {
		o, err := compareUnit(u)
		if err != nil {
			return Result{}, err
		}
		r.Overlays = append(r.Overlays, o)
	}
	return r, nil
}

func compareUnit(u Unit) (Overlay, error) {
	o := Overlay{Name: u.Name, Change: u.Change, Reason: u.Reason, Warnings: u.Warnings}
	if u.Change == Skipped {
		return o, nil
	}
	stems := generated(u.Before, u.After)
	for _, p := range pairs(u.Before, u.After) {
		object, differs, err := p.compare(u, stems)
		if err != nil {
			return Overlay{}, err
		}
		if differs {
			o.Objects = append(o.Objects, object)
		}
	}
	switch {
	case o.Change != "":
	case len(o.Objects) > 0:
		o.Change = Changed
	default:
		o.Change = Unchanged
	}
	return o, nil
}

// pair is an object on both sides; one may be nil.
type pair struct {
	before, after *unstructured.Unstructured
}

// pairs matches objects by their names, then by their names without hashes, in
// the order of after, and removed objects last. A generation of a hashed name
// that the newest one has replaced is in neither.
func pairs(before, after []*unstructured.Unstructured) []pair {
	left, generations := map[key]*unstructured.Unstructured{}, map[key][]*unstructured.Unstructured{}
	for _, o := range before {
		left[keyOf(o)] = o
	}
	all := make([]pair, len(after))
	for i, o := range after {
		all[i] = pair{left[keyOf(o)], o}
		delete(left, keyOf(o))
	}
	for _, o := range before {
		if k, ok := stemOf(o); ok && left[keyOf(o)] != nil {
			generations[k] = append(generations[k], o)
		}
	}
	for i, p := range all {
		k, ok := stemOf(p.after)
		if !ok || len(generations[k]) == 0 {
			continue
		}
		if p.before == nil {
			all[i].before = slices.MaxFunc(generations[k], func(a, b *unstructured.Unstructured) int {
				return cmp.Compare(a.GetCreationTimestamp().Unix(), b.GetCreationTimestamp().Unix())
			})
		}
		for _, o := range generations[k] {
			delete(left, keyOf(o))
		}
	}
	for _, o := range before {
		if left[keyOf(o)] != nil {
			all = append(all, pair{before: o})
		}
	}
	return all
}

// compare returns the pair's difference and whether there is one.
func (p pair) compare(u Unit, stems map[string]bool) (Object, bool, error) {
	old, current := canonical(p.before, stems), canonical(p.after, stems)
	shown := p.after
	o := Object{Change: Changed, Refused: u.Refused[p.after]}
	switch {
	case p.before == nil:
		o.Change = Added
	case p.after == nil:
		o.Change, shown = Removed, p.before
	}
	o.APIVersion, o.Kind, o.Namespace, o.Name = shown.GetAPIVersion(), shown.GetKind(), shown.GetNamespace(), shown.GetName()
	o.Flags = p.flags(old, current, o.Refused, u)
	if kind := shown.GroupVersionKind().GroupKind(); kind == (schema.GroupKind{Kind: "Secret"}) {
		mask(old, current)
	}
	from, err := marshal(old)
	if err != nil {
		return o, false, err
	}
	to, err := marshal(current)
	if err != nil {
		return o, false, err
	}
	if from == to && o.Refused == "" {
		return o, false, nil
	}
	if p.before != nil && p.after != nil && p.before.GetName() != p.after.GetName() {
		o.Note = rolls(p, u.After)
	}
	o.Diff, err = unified(u.Name+"/"+strings.ReplaceAll(o.String(), " ", "/"), from, to)
	return o, true, err
}

// rolls says what another hash in an object's name does.
func rolls(p pair, objects []*unstructured.Unstructured) string {
	note := fmt.Sprintf("was %s", p.before.GetName())
	var users []string
	for _, o := range objects {
		if template := at(o.Object, "spec.template"); holds(template, p.after.GetName()) {
			users = append(users, o.GetKind()+" "+o.GetName())
		}
	}
	if len(users) > 0 {
		note += ": the new name rolls " + strings.Join(users, ", ") + " out anew"
	}
	return note
}

// unified returns the unified difference of two texts, "" where there is none.
func unified(name, before, after string) (string, error) {
	d := difflib.UnifiedDiff{A: lines(before), B: lines(after), FromFile: "before/" + name, ToFile: "after/" + name, Context: 3}
	if before == "" {
		d.FromFile = "/dev/null"
	}
	if after == "" {
		d.ToFile = "/dev/null"
	}
	out, err := difflib.GetUnifiedDiffString(d)
	if err != nil {
		return "", fmt.Errorf("diff: %s: %w", name, err)
	}
	return out, nil
}

// lines keeps the line ends; a text that is marshalled ends with one.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return slices.Collect(strings.Lines(text))
}
