package manifest

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Ignored is what an Application leaves alone once its objects are there: a sync
// that makes an object sets these fields, any later one does not.
type Ignored []IgnoreDifference

// Ignored returns by overlay what its Application ignores. Of an argocd/ that
// cannot be rendered, which Check reports, it returns nothing.
func (r *Repository) Ignored() map[string]Ignored {
	all := map[string]Ignored{}
	rendered, err := r.RenderDir("argocd")
	if err != nil {
		return all
	}
	objects, err := Unstructured(rendered)
	if err != nil {
		return all
	}
	for _, u := range objects {
		name, ok := strings.CutPrefix(u.GetName(), NamespacePrefix)
		app := Application{}
		if !ok || u.GetKind() != "Application" || runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &app) != nil {
			continue
		}
		// Without this option a sync sets them all the same.
		if slices.Contains(app.Spec.SyncPolicy.SyncOptions, "RespectIgnoreDifferences=true") {
			all[name] = app.Spec.IgnoreDifferences
		}
	}
	return all
}

// Of returns the paths of an object's fields that are ignored and set.
func (all Ignored) Of(o *unstructured.Unstructured) []string {
	var paths []string
	same := func(pattern, value string) bool { return pattern == value || pattern == "" || pattern == "*" }
	kind := o.GroupVersionKind()
	for _, i := range all {
		if i.Group != kind.Group && i.Group != "*" || !same(i.Kind, kind.Kind) || !same(i.Name, o.GetName()) {
			continue
		}
		for _, pointer := range i.JSONPointers {
			fields := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
			if _, found, err := unstructured.NestedFieldNoCopy(o.Object, fields...); found && err == nil {
				paths = append(paths, strings.Join(fields, "."))
			}
		}
	}
	return paths
}
