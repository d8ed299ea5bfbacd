package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// applied makes a patch a server-side apply, which creates what is not there.
const applied = "?fieldManager=conformance&force=true"

// Apply creates or updates slices.
func (cp *ControlPlane) Apply(ctx context.Context, slices ...*discoveryv1.EndpointSlice) error {
	for _, es := range slices {
		es = es.DeepCopy()
		es.TypeMeta = metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}
		if err := cp.write(ctx, http.MethodPatch, path(es)+applied, es); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes slices.
func (cp *ControlPlane) Delete(ctx context.Context, slices ...*discoveryv1.EndpointSlice) error {
	for _, es := range slices {
		if err := cp.delete(ctx, path(es)); err != nil {
			return err
		}
	}
	return nil
}

func path(es *discoveryv1.EndpointSlice) string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + es.Namespace + "/endpointslices/" + es.Name
}

// Namespace creates a namespace in which the client may do nothing.
func (cp *ControlPlane) Namespace(ctx context.Context, name string) error {
	return cp.write(ctx, http.MethodPost, "/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// Grant lets the client list and watch EndpointSlices in a namespace.
func (cp *ControlPlane) Grant(ctx context.Context, namespace string) error {
	version := rbacv1.SchemeGroupVersion.String()
	base := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
	meta := metav1.ObjectMeta{Name: "resolver", Namespace: namespace}
	role := &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: version, Kind: "Role"},
		ObjectMeta: meta,
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{discoveryv1.GroupName}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"},
		}},
	}
	if err := cp.write(ctx, http.MethodPatch, base+"/roles/resolver"+applied, role); err != nil {
		return err
	}
	return cp.write(ctx, http.MethodPatch, base+"/rolebindings/resolver"+applied, &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: version, Kind: "RoleBinding"},
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "resolver"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: clientUser}},
	})
}

// Revoke takes back what Grant gave.
func (cp *ControlPlane) Revoke(ctx context.Context, namespace string) error {
	return cp.delete(ctx, "/apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/rolebindings/resolver")
}

// ExternalName creates a Service that is a name elsewhere and has no slices.
func (cp *ControlPlane) ExternalName(ctx context.Context, namespace, name string) error {
	return cp.write(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/services", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"},
	})
}

// Get returns what the API server answers to the administrator.
func (cp *ControlPlane) Get(ctx context.Context, path string) ([]byte, error) {
	return cp.do(ctx, http.MethodGet, path, nil)
}

// write makes a request as the administrator. A patch is a server-side apply.
func (cp *ControlPlane) write(ctx context.Context, method, path string, obj any) error {
	body, err := json.Marshal(obj)
	if err == nil {
		_, err = cp.do(ctx, method, path, body)
	}
	return err
}

func (cp *ControlPlane) delete(ctx context.Context, path string) error {
	_, err := cp.do(ctx, http.MethodDelete, path, nil)
	return err
}

func (cp *ControlPlane) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	// Clients with one certificate share their connections.
	client, err := rest.HTTPClientFor(&rest.Config{BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{CAData: cp.CA}})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, cp.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("controlplane: %s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, err
}
