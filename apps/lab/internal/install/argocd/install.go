package argocd

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Namespace is where Argo CD runs.
const Namespace = "argocd"

const (
	readyTime = 5 * time.Minute
	gitPort   = 9418
	// interval is the time between two questions about an object.
	interval = 100 * time.Millisecond
)

//go:embed kustomization.yaml git.yaml default.yaml
var files embed.FS

// ArgoCD is one build of Argo CD.
type ArgoCD struct {
	// Programs and Versions hold, by the names of [component.GitOps], the
	// directories of the components and their versions.
	Programs, Versions map[string]string
}

// waited are the Deployments that a sync needs. The API server is not among
// them, which is for people.
var waited = []string{"argocd-redis", "argocd-repo-server", "git"}

// Install applies Argo CD and returns when it works. The nodes must have the
// images.
func (a *ArgoCD) Install(ctx context.Context, k *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready in %s", readyTime))
	defer cancel()
	if _, err := lookAt(ctx, k); err != nil {
		return err
	}
	objects, err := a.manifests()
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, append(objects, password())...); err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	for _, name := range waited {
		if err := k.Available(ctx, Namespace, name); err != nil {
			return fmt.Errorf("argocd: %w", err)
		}
	}
	return nil
}

// lookAt tells whether a lab installed Argo CD on the cluster.
func lookAt(ctx context.Context, k *kube.Client) (lab bool, err error) {
	n, err := k.Typed.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("argocd: looking for its namespace: %w", err)
	}
	if n.Annotations[kube.MadeByLab] == "" {
		return false, errOthers
	}
	return true, nil
}

var errOthers = fmt.Errorf("argocd: namespace %s was not made by the lab: use another cluster", Namespace)

// Clear removes an Argo CD that a lab installed, with its Applications and what
// they made. It does nothing where there is none.
func Clear(ctx context.Context, k *kube.Client) error {
	its, err := lookAt(ctx, k)
	if errors.Is(err, errOthers) {
		return nil // it is nothing to clear
	}
	if err != nil || !its {
		return err
	}
	s := &instance{kube: k, note: func(string, ...any) {}}
	if err := s.deleteAll(ctx); err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	parts := metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=argocd"}
	var objects []*unstructured.Unstructured
	for _, r := range []Resource{
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	} {
		resource, err := k.Resource(r.object())
		if err != nil {
			return fmt.Errorf("argocd: %w", err)
		}
		list, err := resource.List(ctx, parts)
		if err != nil {
			return fmt.Errorf("argocd: %w", err)
		}
		for i := range list.Items {
			objects = append(objects, &list.Items[i])
		}
	}
	namespace := Resource{Version: "v1", Kind: "Namespace", Name: Namespace}.object()
	if err := k.Delete(ctx, append(objects, namespace)...); err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	return nil
}

// manifests renders Argo CD's own manifests.
func (a *ArgoCD) manifests() ([]*unstructured.Unstructured, error) {
	install, err := os.ReadFile(filepath.Join(a.Programs[component.ArgoCD.Name], "install.yaml"))
	if err != nil {
		return nil, fmt.Errorf("argocd: %w", err)
	}
	content := map[string][]byte{
		"install.yaml":   install,
		"namespace.yaml": []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + Namespace + ", annotations: {" + kube.MadeByLab + ": argocd}}\n"),
	}
	for _, name := range []string{"kustomization.yaml", "git.yaml", "default.yaml"} {
		if content[name], err = files.ReadFile(name); err != nil {
			return nil, fmt.Errorf("argocd: %w", err)
		}
	}
	for _, image := range []string{"argocd", "redis"} {
		line := "newName: " + repository + "/" + image + "\n"
		content["kustomization.yaml"] = bytes.Replace(content["kustomization.yaml"], []byte(line), []byte(line+"    newTag: "+a.tag()+"\n"), 1)
	}
	objects, err := manifest.BuildFiles(content)
	if err != nil {
		return nil, fmt.Errorf("argocd: rendering its manifests: %w", err)
	}
	return objects, nil
}

// password is the Secret that Redis's first start would make: with it there
// already no pod waits for that.
func password() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "argocd-redis", "namespace": Namespace},
		"stringData": map[string]any{"auth": rand.Text()},
	}}
}
