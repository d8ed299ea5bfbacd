package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// versionOf reads what the API server says of itself.
func versionOf(code int, body []byte) (string, error) {
	var info version.Info
	if err := json.Unmarshal(body, &info); code == http.StatusOK && err == nil && info.GitVersion != "" {
		return info.GitVersion, nil
	}
	text := strings.Join(strings.Fields(string(body)), " ")
	return "", fmt.Errorf("GET /version gave %d %s: %.200s", code, http.StatusText(code), text)
}

// Preflight asks, before anything is changed, for all that a run in those
// namespaces needs: the rights, names that are free and clocks that agree. The
// error says everything that is missing. It returns the namespaces that an
// earlier run of the lab left, which a run deletes.
func (c *Cluster) Preflight(ctx context.Context, namespaces []string, rights []kube.Right) (left []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTime, fmt.Errorf("not in %s", preflightTime))
	defer cancel()
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	missing, err := client.Missing(ctx, rights...)
	if err != nil {
		return nil, fmt.Errorf("external: context %q: %w", c.options.Context, err)
	}
	var errs []error
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("external: context %q: this user may not %s: have an administrator grant what --print-rbac prints",
			c.options.Context, kube.Describe(missing...)))
	}
	if c.skew.Abs() > maxSkew {
		errs = append(errs, fmt.Errorf("external: context %q: the API server's clock differs from this machine's by at least %s, and claims compare times of both: set the clocks",
			c.options.Context, c.skew.Abs()))
	}
	if len(missing) > 0 { // reading namespaces may be among them
		return nil, errors.Join(errs...)
	}
	left, err = leftovers(ctx, client, namespaces)
	return left, errors.Join(append(errs, err)...)
}

// leftovers returns the namespaces that the lab made; others of those names are
// an error.
func leftovers(ctx context.Context, client *kube.Client, namespaces []string) (left []string, err error) {
	var foreign []string
	for _, name := range namespaces {
		var ns *corev1.Namespace
		ns, err := client.Typed.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("external: looking for namespace %s: %w", name, err)
		case ns.Annotations[kube.MadeByLab] == "":
			foreign = append(foreign, name)
		default:
			left = append(left, name)
		}
	}
	if len(foreign) > 0 {
		return nil, fmt.Errorf("external: there are namespaces which the lab did not make: %s: delete them, leave them out with --only, or use another cluster", strings.Join(foreign, ", "))
	}
	return left, nil
}
