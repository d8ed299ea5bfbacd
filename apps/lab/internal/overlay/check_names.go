package overlay

import (
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// nameLabel is the one label that selectors use.
const nameLabel = "app.kubernetes.io/name"

// checkNamespace wants one Namespace, named after the overlay, and everything else in it.
func checkNamespace(r rendering) []string {
	var violations []string
	want, namespaces := Namespace(r.name), 0
	for _, o := range r.objects {
		if _, ok := o.(*corev1.Namespace); ok {
			namespaces++
			if o.GetName() != want {
				violations = append(violations, fmt.Sprintf("Namespace %q, expected %q", o.GetName(), want))
			}
			continue
		}
		if o.GetNamespace() != want {
			violations = append(violations, fmt.Sprintf("%s is in namespace %q, expected %q", describe(o), o.GetNamespace(), want))
		}
	}
	if namespaces != 1 {
		violations = append(violations, fmt.Sprintf("%d Namespaces, expected 1", namespaces))
	}
	return violations
}

// carriesNamespace finds a namespace inside any string: one of this
// repository's, or the one in a cluster DNS name.
var carriesNamespace = regexp.MustCompile(`\b(` + namespacePrefix + `[a-z0-9-]*[a-z0-9])|([a-z0-9-]+)\.svc\b`)

// checkNames wants every string that carries a namespace to carry this
// overlay's: kustomize's namespace: rewrites no arguments and no file's content.
func checkNames(r rendering) []string {
	var violations []string
	for _, o := range r.objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			violations = append(violations, fmt.Sprintf("%s: %v", describe(o), err))
			continue
		}
		eachString(fields, func(s string) {
			for _, match := range carriesNamespace.FindAllStringSubmatch(s, -1) {
				if carried := match[1] + match[2]; carried != Namespace(r.name) {
					violations = append(violations, fmt.Sprintf("%s: %q carries namespace %q, expected %q", describe(o), match[0], carried, Namespace(r.name)))
				}
			}
		})
	}
	return violations
}

func eachString(value any, visit func(string)) {
	switch v := value.(type) {
	case string:
		visit(v)
	case []any:
		for _, element := range v {
			eachString(element, visit)
		}
	case map[string]any:
		for key, element := range v {
			visit(key)
			eachString(element, visit)
		}
	}
}

// checkSelectors wants each selector to be the one name label alone, and to
// select pods that the overlay makes.
func checkSelectors(r rendering) []string {
	var violations []string
	check := func(of Object, what string, selector map[string]string, templates []workload) {
		if len(selector) != 1 || selector[nameLabel] == "" {
			violations = append(violations, fmt.Sprintf("%s: %s %v, expected %s alone", describe(of), what, selector, nameLabel))
			return
		}
		for _, w := range templates {
			if labels.SelectorFromSet(selector).Matches(labels.Set(w.template.Labels)) {
				return
			}
		}
		violations = append(violations, fmt.Sprintf("%s: %s %v matches no pod", describe(of), what, selector))
	}
	matchLabels := func(of Object, what string, s *metav1.LabelSelector, templates []workload) {
		if s == nil || len(s.MatchExpressions) > 0 {
			violations = append(violations, fmt.Sprintf("%s: %s is not a list of labels", describe(of), what))
			return
		}
		check(of, what, s.MatchLabels, templates)
	}
	all := workloads(r.objects)
	for _, w := range all {
		own := []workload{w}
		matchLabels(w.Object, "selector", w.selector, own)
		for _, spread := range w.template.Spec.TopologySpreadConstraints {
			matchLabels(w.Object, "topology spread", spread.LabelSelector, own)
		}
	}
	for _, o := range r.objects {
		switch t := o.(type) {
		case *corev1.Service:
			check(o, "selector", t.Spec.Selector, all)
		case *policyv1.PodDisruptionBudget:
			matchLabels(o, "selector", t.Spec.Selector, all)
		}
	}
	return violations
}
