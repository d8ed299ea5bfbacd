package runner

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// MadeByLab is the annotation of namespaces that the lab made and may delete.
// No overlay sets it.
const MadeByLab = kube.MadeByLab

// claimNamespace returns when no namespace of that name is left. One that an
// earlier run of the lab left is deleted; any other is refused.
func claimNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for namespace %s: %w", name, err)
	}
	if ns.Annotations[MadeByLab] == "" {
		return fmt.Errorf("namespace %s exists and was not made by the lab: delete it (kubectl delete namespace %s) or use another cluster", name, name)
	}
	return deleteNamespace(ctx, client, name)
}

// deleteNamespace deletes the namespace and returns when it is gone. Its pods do
// not drain: nobody calls them any more.
func deleteNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", name, err)
	}
	second := int64(1)
	if err := client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &second}, metav1.ListOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the pods of namespace %s: %w", name, err)
	}
	return poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		var left []string
		for _, c := range ns.Status.Conditions {
			left = append(left, c.Message)
		}
		return fmt.Sprintf("namespace %s is still being deleted (%s)", name, strings.Join(left, "; ")), nil
	})
}
