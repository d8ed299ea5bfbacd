package manifest

import (
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Grant is the access to Kubernetes' API that a workload has.
type Grant struct {
	Workload string // in Describe's form, such as "DaemonSet/l5d"; "" is the client
	Rules    []rbacv1.PolicyRule
}

// String returns the grant in one line, such as "DaemonSet/l5d (get+list of endpoints)".
func (g Grant) String() string {
	var rules []string
	for _, r := range g.Rules {
		rules = append(rules, fmt.Sprintf("%s of %s", strings.Join(r.Verbs, "+"), strings.Join(r.Resources, "+")))
	}
	return fmt.Sprintf("%s (%s)", g.Workload, strings.Join(rules, ", "))
}
