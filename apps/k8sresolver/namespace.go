package k8sresolver

import (
	"cmp"
	"os"
	"strings"
)

// serviceAccountNamespace is where the kubelet puts the namespace of a pod that
// has a service account token.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// discoverNamespace returns the namespace of targets that name none: option, else
// what the file holds, else fallback, else "default". A file that cannot be read
// is one that is not there: the process is not in a pod, or has no token.
func discoverNamespace(option, file, fallback string) string {
	var mounted string
	if content, err := os.ReadFile(file); err == nil {
		mounted = strings.TrimSpace(string(content))
	}
	return cmp.Or(option, mounted, fallback, "default")
}
