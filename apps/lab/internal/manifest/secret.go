package manifest

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SecretOf returns the name of the Secret that an operator makes of an object, or "".
// Sources: the API references of cert-manager, External Secrets and Sealed Secrets.
func SecretOf(o Object) string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return ""
	}
	switch u.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"}:
		name, _, _ := unstructured.NestedString(u.Object, "spec", "secretName")
		return name
	case schema.GroupKind{Group: "external-secrets.io", Kind: "ExternalSecret"}:
		name, _, _ := unstructured.NestedString(u.Object, "spec", "target", "name")
		return cmp.Or(name, u.GetName())
	case schema.GroupKind{Group: "bitnami.com", Kind: "SealedSecret"}:
		return u.GetName()
	}
	return ""
}
