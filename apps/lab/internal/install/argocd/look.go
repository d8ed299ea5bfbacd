package argocd

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// ErrNone says that the cluster has no Argo CD.
var ErrNone = errors.New("no Argo CD is on this cluster: run `lab run --deploy argocd --keep`")

// noUI says why the API server has no pages.
const noUI = "not run: its sources need argo-ui, which is on GitHub and in no package registry"

// Access is how a person reaches Argo CD.
type Access struct {
	Password string // of the user admin
	UI       string // whether there is one
}

// Look finds the cluster's Argo CD.
func Look(ctx context.Context, k *kube.Client) (Access, error) {
	secret, err := k.Typed.CoreV1().Secrets(Namespace).Get(ctx, "argocd-initial-admin-secret", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Access{}, ErrNone
	}
	if err != nil {
		return Access{}, fmt.Errorf("argocd: reading the admin's password: %w", err)
	}
	return Access{Password: string(secret.Data["password"]), UI: noUI}, nil
}
