package runner

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Beside calls do with the name of an empty namespace that is there meanwhile.
func (env *Environment) Beside(ctx context.Context, do func(namespace string) error) (err error) {
	name, namespaces := env.Namespace+"-neighbour", env.Kube.Typed.CoreV1().Namespaces()
	if err := claimNamespace(ctx, env.Kube.Typed, name); err != nil {
		return err
	}
	env.Note("make namespace %s", name)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{MadeByLab: env.Namespace}}}
	if _, err := namespaces.Create(ctx, namespace, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, namespaces.Delete(ctx, name, metav1.DeleteOptions{}))
	}()
	return do(name)
}
