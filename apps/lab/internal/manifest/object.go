package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
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
			return nil, fmt.Errorf("overlay: decoding object %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// Decode reads a rendering into Kubernetes' own types, in its order. A field
// that a type does not have is an error.
func Decode(rendered []byte) ([]Object, error) {
	objects, wrong, err := decode(rendered)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("overlay: %s: %w", wrong[0].object, wrong[0].err)
	}
	return objects, nil
}

// objectError is why an object is none that Kubernetes' own types describe.
type objectError struct {
	object string // as describe names it
	err    error
}

// decode is Decode with the errors of all objects. What is known of an object
// in spite of its error is among the objects.
func decode(rendered []byte) (objects []Object, wrong []objectError, err error) {
	raw, err := Unstructured(rendered)
	if err != nil {
		return nil, nil, err
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, u := range raw {
		var typed runtime.Object
		var kind *schema.GroupVersionKind
		content, err := u.MarshalJSON()
		if err == nil {
			typed, kind, err = strict.Decode(content, nil, nil)
		}
		object, ok := typed.(Object)
		if err == nil && !ok {
			err = errors.New("it has no metadata")
		}
		if err != nil {
			wrong = append(wrong, objectError{describe(u), err})
		}
		if ok && kind != nil {
			object.GetObjectKind().SetGroupVersionKind(*kind)
			objects = append(objects, object)
		}
	}
	return objects, wrong, nil
}

// named is what describe needs of an object.
type named interface {
	GetObjectKind() schema.ObjectKind
	GetName() string
}

// describe names an object as kubectl does, "Deployment/echo-client".
func describe(o named) string {
	return o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName()
}

// all returns the objects of type T.
func all[T Object](objects []Object) []T {
	var found []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// find returns the object of type T with the given name.
func find[T Object](objects []Object, name string) (T, bool) {
	for _, o := range all[T](objects) {
		if o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}

// workload is an object that makes pods.
type workload struct {
	Object
	selector *metav1.LabelSelector
	template *corev1.PodTemplateSpec
}

func workloads(objects []Object) []workload {
	var all []workload
	for _, o := range objects {
		switch t := o.(type) {
		case *appsv1.Deployment:
			all = append(all, workload{o, t.Spec.Selector, &t.Spec.Template})
		case *appsv1.DaemonSet:
			all = append(all, workload{o, t.Spec.Selector, &t.Spec.Template})
		}
	}
	return all
}

// workloadNamed returns the workload that describe names so.
func workloadNamed(objects []Object, name string) (workload, bool) {
	for _, w := range workloads(objects) {
		if describe(w.Object) == name {
			return w, true
		}
	}
	return workload{}, false
}

// first returns the container that does a pod's work, or an empty one.
func first(pod corev1.PodTemplateSpec) corev1.Container {
	if len(pod.Spec.Containers) == 0 {
		return corev1.Container{}
	}
	return pod.Spec.Containers[0]
}

func (w workload) containers() []corev1.Container {
	return slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers)
}

// decodeStrict reads YAML into a type of this package. Unlike encoding/json it
// tells repoUrl from repoURL.
func decodeStrict(content []byte, into any) error {
	asJSON, err := sigsyaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(unknown, err)...)
}
