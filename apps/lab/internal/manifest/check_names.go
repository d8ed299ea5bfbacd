package manifest

import (
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
func checkNamespace(r rendering, wrong reportObject) {
	want := Namespace(r.name)
	for _, o := range r.objects {
		if _, ok := o.(*corev1.Namespace); ok {
			if o.GetName() != want {
				wrong(o, o.GetName(), "Namespace %q, expected %q", o.GetName(), want)
			}
			continue
		}
		if o.GetNamespace() != want {
			wrong(o, o.GetNamespace(), "is in namespace %q, expected %q", o.GetNamespace(), want)
		}
	}
	if namespaces := all[*corev1.Namespace](r.objects); len(namespaces) != 1 {
		wrong(nil, "", "%d Namespaces, expected 1", len(namespaces))
	}
}

// carriesNamespace finds a namespace inside any string: one of this
// repository's, or the one in a cluster DNS name.
var carriesNamespace = regexp.MustCompile(`\b(` + namespacePrefix + `[a-z0-9-]*[a-z0-9])|([a-z0-9-]+)\.svc\b`)

// checkNames wants every string that carries a namespace to carry this
// overlay's: kustomize's namespace: rewrites no arguments and no file's content.
func checkNames(r rendering, wrong reportObject) {
	for _, o := range r.objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			wrong(o, "", "%v", err)
			continue
		}
		eachString(fields, func(s string) {
			for _, match := range carriesNamespace.FindAllStringSubmatch(s, -1) {
				if carried := match[1] + match[2]; carried != Namespace(r.name) {
					wrong(o, match[0], "%q carries namespace %q, expected %q", match[0], carried, Namespace(r.name))
				}
			}
		})
	}
}

// checkComponents wants a server and a client, and each to have one name for its
// Deployment, pods and container, the server for its Service too: by that name
// `lab run` and kubectl find them.
func checkComponents(r rendering, wrong reportObject) {
	for _, part := range []string{Server, Client} {
		found := components(r.objects, part)
		if len(found) != 1 {
			wrong(nil, "", "%d Deployments are labelled %s: %s, expected 1", len(found), ComponentLabel, part)
			continue
		}
		d := found[0]
		if app := d.Spec.Template.Labels[nameLabel]; app != d.Name {
			wrong(d, app, "its pods are labelled %s: %s, expected %s", nameLabel, app, d.Name)
		}
		if c := first(d.Spec.Template); c.Name != d.Name {
			wrong(d, c.Name, "its first container is named %q, expected %q", c.Name, d.Name)
		}
		service, ok := find[*corev1.Service](r.objects, d.Name)
		if part == Server && (!ok || service.Spec.Selector[nameLabel] != d.Name) {
			wrong(d, "", "no Service %q leads to its pods", d.Name)
		}
	}
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
func checkSelectors(r rendering, wrong reportObject) {
	check := func(of Object, what string, selector map[string]string, templates []workload) {
		name := selector[nameLabel]
		if len(selector) != 1 || name == "" {
			wrong(of, name, "%s %v, expected %s alone", what, selector, nameLabel)
			return
		}
		for _, w := range templates {
			if labels.SelectorFromSet(selector).Matches(labels.Set(w.template.Labels)) {
				return
			}
		}
		wrong(of, nameLabel+": "+name, "%s %v matches no pod", what, selector)
	}
	matchLabels := func(of Object, what string, s *metav1.LabelSelector, templates []workload) {
		if s == nil || len(s.MatchExpressions) > 0 {
			wrong(of, "", "%s is not a list of labels", what)
			return
		}
		check(of, what, s.MatchLabels, templates)
	}
	pods := workloads(r.objects)
	for _, w := range pods {
		own := []workload{w}
		matchLabels(w.Object, "selector", w.selector, own)
		for _, spread := range w.template.Spec.TopologySpreadConstraints {
			matchLabels(w.Object, "topology spread", spread.LabelSelector, own)
		}
	}
	for _, service := range all[*corev1.Service](r.objects) {
		check(service, "selector", service.Spec.Selector, pods)
	}
	for _, budget := range all[*policyv1.PodDisruptionBudget](r.objects) {
		matchLabels(budget, "selector", budget.Spec.Selector, pods)
	}
}
