package check

import (
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

var podSecurityRule = Rule{
	Name:    "pod-security",
	Remedy:  "write pods that pass restricted, and label the Namespace with the strictest level that admits them",
	objects: checkPodSecurity,
}

// checkPodSecurity wants the Namespace to enforce restricted, and its pods to
// pass it. A hostPort, and the init container of an injected sidecar, need
// privileged, the injected agent of a proxyless client and the proxy that Istio makes of
// a Gateway baseline: there the pods must pass restricted in everything else.
func checkPodSecurity(r manifest.Rendering, wrong reportObject) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		wrong(nil, "", "%v", err)
		return
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	want := api.LevelRestricted
	for _, w := range manifest.Workloads(r.Objects) {
		if injected(w) && want == api.LevelRestricted {
			want = api.LevelBaseline
		}
		for _, result := range evaluator.EvaluatePod(restricted, &w.Template.ObjectMeta, &w.Template.Spec) {
			switch {
			case result.Allowed:
			case result.ForbiddenReason == "hostPort":
				want = api.LevelPrivileged
			default:
				wrong(w.Object, "", "pod security restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	}
	switch v := view(r); {
	case v.Mesh == balance.IstioSidecar:
		want = api.LevelPrivileged
	case v.Gateway != "" && want == api.LevelRestricted:
		want = api.LevelBaseline
	}
	for _, n := range manifest.All[*corev1.Namespace](r.Objects) {
		if level := n.Labels[api.EnforceLevelLabel]; level != string(want) {
			wrong(n, api.EnforceLevelLabel, "enforces pod security %q, expected %q", level, want)
		}
	}
}

// grants returns the workloads that may call Kubernetes' API in the overlay's
// strategy. No other workload has a token, and no other role exists.
func grants(r manifest.Rendering) []manifest.Grant {
	s, _ := strategy.Of(view(r))
	all := slices.Clone(s.Grants)
	for i, g := range all {
		if g.Workload == "" {
			client, _ := manifest.Component(r.Objects, manifest.Client)
			all[i].Workload = manifest.Describe(client)
		}
	}
	return all
}

var rbacRule = Rule{
	Name:    "rbac",
	Remedy:  "grant only the access that the strategy uses, and only to the workload that uses it",
	objects: checkTokens,
}

// checkTokens wants tokens and permissions exactly where grants says.
func checkTokens(r manifest.Rendering, wrong reportObject) {
	var have []manifest.Grant
	for _, w := range manifest.Workloads(r.Objects) {
		account := w.Template.Spec.ServiceAccountName
		rules := rulesOf(r.Objects, account)
		switch {
		case mountsToken(r.Objects, w):
			have = append(have, manifest.Grant{Workload: manifest.Describe(w.Object), Rules: rules})
		case len(rules) > 0:
			wrong(w.Object, "automountServiceAccountToken", "has permissions, but no token")
		}
	}
	if want := grants(r); !reflect.DeepEqual(have, want) {
		wrong(nil, "", "workloads that may call the API: %v, expected %v", have, want)
	}
	for _, o := range r.Objects {
		switch o.(type) {
		case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
			wrong(o, "", "grants access beyond the namespace")
		case *rbacv1.Role, *rbacv1.RoleBinding:
			if len(have) == 0 {
				wrong(o, "", "no pod mounts a token to use it")
			}
		}
	}
}

// mountsToken follows Kubernetes' rule: the pod's word, else its account's, else yes.
func mountsToken(objects []manifest.Object, w manifest.Workload) bool {
	if mount := w.Template.Spec.AutomountServiceAccountToken; mount != nil {
		return *mount
	}
	account, ok := manifest.Get[*corev1.ServiceAccount](objects, w.Template.Spec.ServiceAccountName)
	return !ok || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken
}

// rulesOf returns what the Roles bound to an account allow.
func rulesOf(objects []manifest.Object, account string) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, binding := range manifest.All[*rbacv1.RoleBinding](objects) {
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool {
			return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && s.Namespace == binding.Namespace
		}) {
			continue
		}
		if role, ok := manifest.Get[*rbacv1.Role](objects, binding.RoleRef.Name); ok {
			rules = append(rules, role.Rules...)
		}
	}
	return rules
}
