package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// checkPodSecurity wants the Namespace to enforce restricted, and its pods to
// pass it. A hostPort, and the init container of an injected sidecar, need
// privileged, the injected agent of a proxyless client baseline: there the pods
// must pass restricted in everything else.
func checkPodSecurity(r rendering, wrong reportObject) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		wrong(nil, "", "%v", err)
		return
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	want := api.LevelRestricted
	for _, w := range workloads(r.objects) {
		if w.injected() && want == api.LevelRestricted {
			want = api.LevelBaseline
		}
		for _, result := range evaluator.EvaluatePod(restricted, &w.template.ObjectMeta, &w.template.Spec) {
			switch {
			case result.Allowed:
			case result.ForbiddenReason == "hostPort":
				want = api.LevelPrivileged
			default:
				wrong(w.Object, "", "pod security restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	}
	if injected(r) {
		want = api.LevelPrivileged
	}
	for _, n := range all[*corev1.Namespace](r.objects) {
		if level := n.Labels[api.EnforceLevelLabel]; level != string(want) {
			wrong(n, api.EnforceLevelLabel, "enforces pod security %q, expected %q", level, want)
		}
	}
}

// grant is the access to Kubernetes' API that a workload has.
type grant struct {
	Workload string
	Rules    []rbacv1.PolicyRule
}

func (g grant) String() string {
	var rules []string
	for _, r := range g.Rules {
		rules = append(rules, fmt.Sprintf("%s of %s", strings.Join(r.Verbs, "+"), strings.Join(r.Resources, "+")))
	}
	return fmt.Sprintf("%s (%s)", g.Workload, strings.Join(rules, ", "))
}

// grants returns the workload that may call Kubernetes' API in the overlay's
// strategy. In all others, and for all other workloads, no pod mounts a token and
// no role exists.
func grants(r rendering) []grant {
	switch r.strategy() {
	case "k8s-api":
		client, _ := component(r.objects, Client)
		return []grant{{describe(client), []rbacv1.PolicyRule{
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		}}}
	case "linkerd":
		return []grant{{"DaemonSet/l5d", []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"endpoints"}, Verbs: []string{"get", "list", "watch"}},
		}}}
	}
	return nil
}

// checkTokens wants tokens and permissions exactly where grants says.
func checkTokens(r rendering, wrong reportObject) {
	var have []grant
	for _, w := range workloads(r.objects) {
		account := w.template.Spec.ServiceAccountName
		rules := rulesOf(r.objects, account)
		switch {
		case mountsToken(r.objects, w):
			have = append(have, grant{describe(w.Object), rules})
		case len(rules) > 0:
			wrong(w.Object, "automountServiceAccountToken", "has permissions and no token")
		}
	}
	if want := grants(r); !reflect.DeepEqual(have, want) {
		wrong(nil, "", "workloads that may call the API: %v, expected %v", have, want)
	}
	for _, o := range r.objects {
		switch o.(type) {
		case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
			wrong(o, "", "reaches beyond the namespace")
		case *rbacv1.Role, *rbacv1.RoleBinding:
			if len(have) == 0 {
				wrong(o, "", "no pod mounts a token to use it")
			}
		}
	}
}

// mountsToken follows Kubernetes' rule: the pod's word, else its account's, else yes.
func mountsToken(objects []Object, w workload) bool {
	if mount := w.template.Spec.AutomountServiceAccountToken; mount != nil {
		return *mount
	}
	account, ok := find[*corev1.ServiceAccount](objects, w.template.Spec.ServiceAccountName)
	return !ok || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken
}

// rulesOf returns what the Roles bound to an account allow.
func rulesOf(objects []Object, account string) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, binding := range all[*rbacv1.RoleBinding](objects) {
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool {
			return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && s.Namespace == binding.Namespace
		}) {
			continue
		}
		if role, ok := find[*rbacv1.Role](objects, binding.RoleRef.Name); ok {
			rules = append(rules, role.Rules...)
		}
	}
	return rules
}
