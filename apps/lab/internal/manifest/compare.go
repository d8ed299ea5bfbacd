package manifest

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// DifferencesInKind tells how the rendering of one overlay differs from that of
// another in more than the namespace and the Namespace's labels, a line for
// each object; none if it does not.
func DifferencesInKind(one, other []byte) ([]string, error) {
	left, err := alike(one)
	if err != nil {
		return nil, err
	}
	right, err := alike(other)
	if err != nil {
		return nil, err
	}
	var all []string
	for name, object := range left {
		switch found, ok := right[name]; {
		case !ok:
			all = append(all, name+" is missing")
		case !reflect.DeepEqual(object, found):
			all = append(all, name+" differs")
		}
	}
	for name := range right {
		if _, ok := left[name]; !ok {
			all = append(all, name+" is added")
		}
	}
	slices.Sort(all)
	return all, nil
}

// alike returns a rendering's objects by kind and name, without what two
// overlays may differ in.
func alike(rendered []byte) (map[string]map[string]any, error) {
	objects, err := Unstructured(rendered)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]any{}
	for _, o := range objects {
		name := Describe(o)
		if o.GetKind() == "Namespace" {
			name = "Namespace"
			unstructured.RemoveNestedField(o.Object, "metadata", "name")
			unstructured.RemoveNestedField(o.Object, "metadata", "labels")
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("manifest: %s is rendered twice", name)
		}
		all[name] = o.Object
	}
	return all, nil
}
