package manifest

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"
)

//go:embed argocd_fields.yaml
var argoFieldsFile []byte

// argoFields is the shape of spec by kind: an object of all its fields, a list of
// one element, or the name of a type. Argo CD's own types would bring four
// hundred modules along.
var argoFields = func() map[string]any {
	var shapes map[string]any
	if err := yaml.Unmarshal(argoFieldsFile, &shapes); err != nil {
		panic(fmt.Sprintf("manifest: argocd_fields.yaml: %v", err))
	}
	return shapes
}()

// misfits says in what a value differs from its shape. A field that is null is
// one that is not set.
func misfits(shape, value any, at string) []string {
	wrong := func(expected string) []string {
		return []string{fmt.Sprintf("%s is %v, expected %s", at, value, expected)}
	}
	if value == nil {
		return nil
	}
	switch shape := shape.(type) {
	case map[string]any:
		fields, ok := value.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			below, known := shape[name]
			if !known {
				below, known = shape["*"] // any name
			}
			if !known {
				all = append(all, fmt.Sprintf("unknown field %q", at+"."+name))
				continue
			}
			all = append(all, misfits(below, fields[name], at+"."+name)...)
		}
		return all
	case []any:
		list, ok := value.([]any)
		if !ok {
			return wrong("a list")
		}
		var all []string
		for i, element := range list {
			all = append(all, misfits(shape[0], element, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return all
	case string:
		if is, known := ofType[shape]; known && !is(value) {
			return wrong("a value of type " + shape)
		}
	}
	return nil
}

// ofType tells whether a value is of a type that a shape names; "any" is none.
var ofType = map[string]func(any) bool{
	"string":  func(v any) bool { _, ok := v.(string); return ok },
	"boolean": func(v any) bool { _, ok := v.(bool); return ok },
	"integer": func(v any) bool { _, ok := v.(int64); return ok },
}
