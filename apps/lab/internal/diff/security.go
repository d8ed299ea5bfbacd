package diff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// security says how a change opens or closes what guards the cluster: the pod
// security of a Namespace, an AppProject's bounds, NetworkPolicies, ReferenceGrants and Secrets. An
// object is nil on the side that does not have it.
func security(kind schema.GroupKind, before, after map[string]any) []string {
	switch kind {
	case schema.GroupKind{Kind: "Namespace"}:
		return podSecurity(before, after)
	case schema.GroupKind{Group: "argoproj.io", Kind: "AppProject"}:
		return bounds(before, after)
	case schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:
		return changedAt(before, after, "spec", "which connections the pods accept and make changes")
	case schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "ReferenceGrant"}:
		return changedAt(before, after, "spec", "which namespaces may name objects of this one changes")
	case schema.GroupKind{Kind: "Secret"}:
		return changedAt(before, after, "", "a Secret is in the manifests: everybody who reads the repository can read it")
	}
	return nil
}

func changedAt(before, after map[string]any, path, text string) []string {
	if before != nil && after != nil && path != "" && reflect.DeepEqual(at(before, path), at(after, path)) {
		return nil
	}
	return []string{text}
}

// levels are the levels of pod security, the strictest first.
// Source: Kubernetes' Pod Security Standards.
var levels = []string{"restricted", "baseline", "privileged"}

// podSecurity says which level of a Namespace's pod security becomes weaker.
func podSecurity(before, after map[string]any) []string {
	level := func(o map[string]any, mode string) (string, int) {
		labels, _ := at(o, "metadata.labels").(map[string]any)
		text, _ := labels["pod-security.kubernetes.io/"+mode].(string)
		if i := slices.Index(levels, text); i >= 0 {
			return text, i
		}
		return "no level", len(levels) - 1 // a cluster's default is privileged
	}
	if after == nil {
		return nil
	}
	var all []string
	for _, mode := range []string{"enforce", "audit", "warn"} {
		from, strict := level(before, mode)
		to, weak := level(after, mode)
		switch {
		case before == nil && mode == "enforce" && to == "privileged":
			all = append(all, fmt.Sprintf("pod security enforces %s: pods may get all rights of their node", to))
		case before != nil && weak > strict:
			all = append(all, fmt.Sprintf("pod security (%s) becomes weaker: %s instead of %s", mode, to, from))
		}
	}
	return all
}

// projectLists are the lists of an AppProject that admit something, and those that
// forbid it.
var projectLists = map[string]bool{
	"sourceRepos": true, "sourceNamespaces": true, "destinations": true,
	"clusterResourceWhitelist": true, "namespaceResourceWhitelist": true,
	"clusterResourceBlacklist": false, "namespaceResourceBlacklist": false,
}

// bounds says what an AppProject admits that it did not.
func bounds(before, after map[string]any) []string {
	if after == nil {
		return nil
	}
	var all []string
	for _, list := range slices.Sorted(maps.Keys(projectLists)) {
		old, current := entries(before, "spec."+list), entries(after, "spec."+list)
		if projectLists[list] {
			for _, entry := range current {
				if before != nil && !slices.Contains(old, entry) || before == nil && strings.Contains(entry, "*") {
					all = append(all, fmt.Sprintf("%s admits %s", list, entry))
				}
			}
			continue
		}
		for _, entry := range old {
			if !slices.Contains(current, entry) {
				all = append(all, fmt.Sprintf("%s no longer forbids %s", list, entry))
			}
		}
	}
	return all
}

// entries prints the entries of a list: texts, or objects as their values.
func entries(content map[string]any, path string) []string {
	list, _ := at(content, path).([]any)
	var all []string
	for _, entry := range list {
		fields, ok := entry.(map[string]any)
		if !ok {
			all = append(all, fmt.Sprint(entry))
			continue
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			parts = append(parts, fmt.Sprintf("%s %v", name, fields[name]))
		}
		all = append(all, strings.Join(parts, ", "))
	}
	return all
}

// outside says that the AppProject of the overlays does not admit an object's kind.
func (p pair) outside(admitted []schema.GroupKind) []string {
	kind := p.after.GroupVersionKind().GroupKind()
	if len(admitted) == 0 || slices.ContainsFunc(admitted, func(k schema.GroupKind) bool {
		return (k.Group == "*" || k.Group == kind.Group) && (k.Kind == "*" || k.Kind == kind.Kind)
	}) {
		return nil
	}
	return []string{fmt.Sprintf("the AppProject does not admit %s: Argo CD refuses the sync", kind)}
}
