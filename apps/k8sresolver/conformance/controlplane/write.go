package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// applied makes a patch a server-side apply, which creates what is not there.
const applied = "?fieldManager=conformance&force=true"

// Apply creates or updates slices.
func (cp *ControlPlane) Apply(ctx context.Context, slices ...*discoveryv1.EndpointSlice) error {
	for _, es := range slices {
		es = es.DeepCopy()
		es.TypeMeta = metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}
		if err := cp.Do(ctx, http.MethodPatch, path(es)+applied, es); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes slices.
func (cp *ControlPlane) Delete(ctx context.Context, slices ...*discoveryv1.EndpointSlice) error {
	for _, es := range slices {
		if err := cp.Do(ctx, http.MethodDelete, path(es), nil); err != nil {
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
	return cp.Do(ctx, http.MethodPost, "/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
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
	if err := cp.Do(ctx, http.MethodPatch, base+"/roles/resolver"+applied, role); err != nil {
		return err
	}
	return cp.Do(ctx, http.MethodPatch, base+"/rolebindings/resolver"+applied, &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: version, Kind: "RoleBinding"},
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "resolver"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: ClientUser}},
	})
}

// Revoke takes back what Grant gave.
func (cp *ControlPlane) Revoke(ctx context.Context, namespace string) error {
	return cp.Do(ctx, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/rolebindings/resolver", nil)
}

// ExternalName creates a Service that is a name elsewhere and has no slices.
func (cp *ControlPlane) ExternalName(ctx context.Context, namespace, name string) error {
	return cp.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/services", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"},
	})
}

// Do makes a request as the administrator. A patch is a server-side apply.
func (cp *ControlPlane) Do(ctx context.Context, method, path string, obj any) error {
	var body io.Reader = http.NoBody
	if obj != nil {
		b, err := json.Marshal(obj)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, cp.URL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+AdminToken)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	resp, err := clientFor(cp.CA).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("controlplane: %s %s: %s: %s", method, path, resp.Status, answer)
	}
	return err
}

// clients holds one client for each certificate, since a connection costs more than
// a request.
var clients sync.Map

func clientFor(ca []byte) *http.Client {
	if c, ok := clients.Load(string(ca)); ok {
		return c.(*http.Client)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c, _ := clients.LoadOrStore(string(ca), &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
	}})
	return c.(*http.Client)
}
