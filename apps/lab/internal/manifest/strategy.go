package manifest

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
)

// strategies says how an overlay is recognised as one that follows a strategy.
// Each view is recognised by at most one.
var strategies = []struct {
	name       string
	recognises func(View) bool
	grants     []Grant
}{
	{"l4", func(v View) bool { return v.Dials(v.Server) && !v.Balances() && v.MaxConnectionAge == "" }, nil},
	{"l4-max-age", func(v View) bool { return v.Dials(v.Server) && !v.Balances() && v.MaxConnectionAge != "" }, nil},
	{"dns", func(v View) bool { return v.Dials(v.Server) && v.Balances() && v.MaxConnectionAge == "" }, nil},
	{"dns-max-age", func(v View) bool { return v.Dials(v.Server) && v.Balances() && v.MaxConnectionAge != "" }, nil},
	{"k8s-api", func(v View) bool { return v.Target.Scheme == "k8s" }, []Grant{{Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
	}}}},
	{"linkerd", func(v View) bool { return v.Target.Scheme == "passthrough" }, []Grant{{Workload: "DaemonSet/l5d", Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"endpoints"}, Verbs: []string{"get", "list", "watch"}},
	}}}},
	{"envoy", func(v View) bool { return v.Dials("envoy") }, nil},
	{"istio", func(v View) bool { return v.ByName() && v.Injected }, nil},
	{"xds", func(v View) bool { return v.Target.Scheme == "xds" }, nil},
}

// Strategy returns the name of the strategy, or "".
func (v View) Strategy() string {
	for _, s := range strategies {
		if s.recognises(v) {
			return s.name
		}
	}
	return ""
}

// Grants returns the access to Kubernetes' API that the strategy needs.
func (v View) Grants() []Grant {
	for _, s := range strategies {
		if s.recognises(v) {
			return s.grants
		}
	}
	return nil
}

// Strategy returns the name of the strategy that an overlay or a variant
// follows, whatever its own name is.
func (r *Repository) Strategy(name string) (string, error) {
	v, err := r.View(name)
	if err != nil {
		return "", err
	}
	if s := v.Strategy(); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s follows no strategy: its client's target leads neither to its server nor to a proxy: `lab check %[1]s` names what is wrong", name)
}
