package argocd

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// What only tests outside of the package reach for.
const RepoURL = repoURL

func (a *ArgoCD) Manifests() ([]*unstructured.Unstructured, error) { return a.manifests() }

// Copy makes the copy of a checkout without a cluster.
func Copy(ctx context.Context, dir, root string, images map[string]string, note func(string, ...any)) error {
	_, err := newSource(ctx, Config{Dir: dir, Root: root, Images: images}, note)
	return err
}

// Says reads an Application and returns what keeps it from being fine, what
// keeps it from waiting, and what it is refused for.
func Says(raw string) (fine, waiting, refusal string, err error) {
	a := &App{}
	err = json.Unmarshal([]byte(raw), a)
	return a.fine(), a.waiting(), a.refusal(), err
}

// NewDeployer returns one on a cluster that need not have Argo CD.
func NewDeployer(k *kube.Client) *Deployer {
	return &Deployer{&instance{kube: k, note: func(string, ...any) {}}}
}

// UntilAll is how a claim reads the windows of a client.
var UntilAll = untilAll
