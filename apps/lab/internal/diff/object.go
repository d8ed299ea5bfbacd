package diff

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// key is what an object is known by. The version is not part of it: the API
// serves one object in several.
type key struct {
	schema.GroupKind
	namespace, name string
}

func keyOf(o *unstructured.Unstructured) key {
	return key{o.GroupVersionKind().GroupKind(), o.GetNamespace(), o.GetName()}
}

// hashed is a name that a configMapGenerator or a secretGenerator made; the
// alphabet is that of kustomize's hasher.
var hashed = regexp.MustCompile(`^(.+)-[2456789bcdfghkmt]{10}$`)

// stem returns the name without its hash, or "" where it has none.
func stem(name string) string {
	if match := hashed.FindStringSubmatch(name); match != nil {
		return match[1]
	}
	return ""
}

// stemOf returns the key without the name's hash.
func stemOf(o *unstructured.Unstructured) (key, bool) {
	k := keyOf(o)
	if k.Group != "" || k.Kind != "ConfigMap" && k.Kind != "Secret" {
		return k, false
	}
	k.name = stem(k.name)
	return k, k.name != ""
}

// generated returns the stems of all names in the lists that carry a hash.
func generated(lists ...[]*unstructured.Unstructured) map[string]bool {
	stems := map[string]bool{}
	for _, o := range slices.Concat(lists...) {
		if k, ok := stemOf(o); ok {
			stems[k.name] = true
		}
	}
	return stems
}

// volatile are the fields of metadata that the API server writes, and written
// the annotations that only tell who applied an object.
var (
	volatile = []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"}
	written  = []string{kube.MadeByLab, "argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration"}
)

// canonical returns an object's content without what is no difference: what the
// API server writes, the hashes of names, and the order of sets.
func canonical(o *unstructured.Unstructured, stems map[string]bool) map[string]any {
	if o == nil {
		return nil
	}
	o = o.DeepCopy()
	delete(o.Object, "status")
	for _, field := range volatile {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	annotations := o.GetAnnotations()
	for _, name := range written {
		delete(annotations, name)
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	o.SetAnnotations(annotations)
	plain, _ := withoutHashes(o.Object, stems).(map[string]any)
	if builtin(o.GroupVersionKind().Group) {
		sortSets(plain)
	}
	return plain
}

// builtin tells whether Kubernetes itself, and not a definition, names the group's fields.
func builtin(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

func withoutHashes(value any, stems map[string]bool) any {
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			v[name] = withoutHashes(v[name], stems)
		}
	case []any:
		for i := range v {
			v[i] = withoutHashes(v[i], stems)
		}
	case string:
		if s := stem(v); stems[s] {
			return s
		}
	}
	return value
}

// sets are the lists, by their field's name, in which Kubernetes sees no order.
var sets = []string{
	"volumes", "volumeMounts", "ports", "imagePullSecrets", "tolerations", "finalizers",
	"rules", "subjects", "verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs",
	"add", "drop", // capabilities
}

func sortSets(value any) {
	switch v := value.(type) {
	case []any:
		for _, below := range v {
			sortSets(below)
		}
	case map[string]any:
		for field, below := range v {
			sortSets(below)
			if list, ok := below.([]any); ok && slices.Contains(sets, field) {
				slices.SortStableFunc(list, func(a, b any) int { return cmp.Compare(rank(a), rank(b)) })
			}
		}
	}
}

// rank orders the elements of a set by their names, so that a change of one
// element moves no other.
func rank(element any) string {
	content, _ := json.Marshal(element) // maps come out sorted
	if fields, ok := element.(map[string]any); ok {
		for _, name := range []string{"name", "mountPath"} {
			if text, ok := fields[name].(string); ok {
				return text + " " + string(content)
			}
		}
	}
	return string(content)
}

// mask hides what Secrets hold and leaves whether it differs.
func mask(before, after map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		old, _ := before[field].(map[string]any)
		changed, _ := after[field].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(old)) {
			value, both := changed[name]
			if both && reflect.DeepEqual(old[name], value) {
				old[name], changed[name] = "***", "***"
				continue
			}
			old[name] = "*** (before)"
			if both {
				changed[name] = "*** (after)"
			}
		}
		for name, value := range changed {
			if _, both := old[name]; !both && value != nil {
				changed[name] = "***"
			}
		}
	}
}

// marshal returns an object's lines, none for no object.
func marshal(content map[string]any) (string, error) {
	if content == nil {
		return "", nil
	}
	text, err := yaml.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("diff: %w", err)
	}
	return string(text), nil
}

// at returns a field of an object's content, or nil; fields are divided by dots.
func at(content map[string]any, path string) any {
	var value any = content
	for field := range strings.SplitSeq(path, ".") {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = fields[field]
	}
	return value
}

// items returns the objects in the list at a path.
func items(content map[string]any, path string) []map[string]any {
	list, _ := at(content, path).([]any)
	var all []map[string]any
	for _, element := range list {
		if fields, ok := element.(map[string]any); ok {
			all = append(all, fields)
		}
	}
	return all
}

// stringAt returns the string at a path, or "".
func stringAt(content map[string]any, path string) string {
	s, _ := at(content, path).(string)
	return s
}

// holds tells whether a string is somewhere in a value.
func holds(value any, want string) bool {
	switch v := value.(type) {
	case map[string]any:
		for _, below := range v {
			if holds(below, want) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(below any) bool { return holds(below, want) })
	case string:
		return v == want
	}
	return false
}
