package manifest

import (
	"bytes"
	gojson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// Object is any Kubernetes object.
type Object interface {
	runtime.Object
	metav1.Object
}

// Unstructured reads a rendering, in its order, without knowing its kinds.
func Unstructured(rendered []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("manifest: decoding object %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// known has Kubernetes' own types and those of the Gateway API.
var known = func() *runtime.Scheme {
	all := runtime.NewScheme()
	for _, install := range []func(*runtime.Scheme) error{scheme.AddToScheme, gatewayv1.Install} {
		if err := install(all); err != nil {
			panic(fmt.Sprintf("manifest: %v", err))
		}
	}
	return all
}()

// Decode reads a rendering into the types of Kubernetes and the Gateway API, in its
// order. A field that a type does not have is an error.
func Decode(rendered []byte) ([]Object, error) {
	objects, wrong, err := DecodeAll(rendered)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("manifest: %s: %w", wrong[0].Object, wrong[0].Err)
	}
	return objects, nil
}

// ObjectError says why an object does not fit its Kubernetes type.
type ObjectError struct {
	Object string // as Describe names it
	Err    error
}

// DecodeAll is Decode with the errors of all objects. A custom resource, whose group is
// none of Kubernetes', stays as it is. The fields of an object
// that could be read are among the objects in spite of its error.
func DecodeAll(rendered []byte) (objects []Object, wrong []ObjectError, err error) {
	raw, err := Unstructured(rendered)
	if err == nil {
		raw, err = flat(raw)
	}
	if err != nil {
		return nil, nil, err
	}
	strict := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	for _, u := range raw {
		var typed runtime.Object
		content, err := stable(u).MarshalJSON()
		if err == nil {
			typed, _, err = strict.Decode(content, nil, nil)
		}
		version := u.GroupVersionKind().GroupVersion()
		if runtime.IsNotRegisteredError(err) && strings.Contains(version.Group, ".") && !scheme.Scheme.IsGroupRegistered(version.Group) && !known.IsVersionRegistered(version) {
			objects = append(objects, u) // a custom resource
			continue
		}
		object, ok := typed.(Object)
		if err == nil && !ok {
			err = errors.New("it has no metadata")
		}
		if runtime.IsNotRegisteredError(err) {
			err = fmt.Errorf("no kind %q in %s", u.GetKind(), u.GetAPIVersion())
		}
		if wrong, ok := errors.AsType[*gojson.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("field %s is a %s, expected %s", fieldPath(wrong.Field), wrong.Value, wrong.Type)
		}
		if err != nil {
			wrong = append(wrong, ObjectError{Describe(u), err})
		}
		if ok {
			object.GetObjectKind().SetGroupVersionKind(u.GroupVersionKind())
			objects = append(objects, object)
		}
	}
	return objects, wrong, nil
}

// fieldPath leaves the names of Go's embedded structs out of a path.
func fieldPath(path string) string {
	fields := slices.DeleteFunc(strings.Split(path, "."), func(name string) bool { return name != "" && unicode.IsUpper(rune(name[0])) })
	return strings.Join(fields, ".")
}

// stableKinds are kinds of the Gateway API whose fields were those of v1 before v1.
var stableKinds = []string{"Gateway", "GatewayClass", "GRPCRoute", "HTTPRoute", "ReferenceGrant"}

// stable returns an object of an older version of the Gateway API as one of v1.
func stable(u *unstructured.Unstructured) *unstructured.Unstructured {
	kind := u.GroupVersionKind()
	if kind.Group != gatewayv1.GroupName || kind.Version == gatewayv1.GroupVersion.Version || !slices.Contains(stableKinds, kind.Kind) {
		return u
	}
	u = u.DeepCopy()
	u.SetAPIVersion(gatewayv1.GroupVersion.String())
	return u
}

// Typed returns a live object as one of its own type, or as it is if the type is not known
// or has no such field.
func Typed(o *unstructured.Unstructured) Object {
	o = stable(o)
	typed, err := known.New(o.GroupVersionKind())
	if err != nil {
		return o
	}
	object, ok := typed.(Object)
	if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, object) != nil {
		return o
	}
	return object
}

// Named is an object of a kind, with a name.
type Named interface {
	GetObjectKind() schema.ObjectKind
	GetName() string
}

// Describe names an object as kubectl does, "Deployment/echo-client".
func Describe(o Named) string {
	return o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName()
}

// All returns the objects of type T.
func All[T Object](objects []Object) []T {
	var found []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// Get returns the object of type T with the given name.
func Get[T Object](objects []Object, name string) (T, bool) {
	for _, o := range All[T](objects) {
		if o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}

// DecodeStrict reads YAML into a type of this package. Unlike encoding/json it
// distinguishes repoUrl from repoURL.
func DecodeStrict(content []byte, into any) error {
	asJSON, err := sigsyaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(unknown, err)...)
}
