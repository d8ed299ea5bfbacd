package check

import (
	"regexp"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// nameLabel is the one label that selectors use.
const nameLabel = "app.kubernetes.io/name"

var namespaceRule = Rule{Name: "namespace", Remedy: "set namespace: grpc-lb-<directory> in the overlay's kustomization, and nowhere else", objects: checkNamespace}

// checkNamespace wants one Namespace, named after the overlay, and everything else in it.
func checkNamespace(r manifest.Rendering, wrong reportObject) {
	want := manifest.Namespace(r.Name)
	for _, o := range r.Objects {
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
	if namespaces := manifest.All[*corev1.Namespace](r.Objects); len(namespaces) != 1 {
		wrong(nil, "", "%d Namespaces, expected 1", len(namespaces))
	}
}

// carriesNamespace finds a namespace inside any string: one of this
// repository's, or the one in a cluster DNS name.
var carriesNamespace = regexp.MustCompile(`\b(` + manifest.NamespacePrefix + `[a-z0-9-]*[a-z0-9])|([a-z0-9-]+)\.svc\b`)

var namespaceStringRule = Rule{Name: "namespace-string", Remedy: "use the overlay's own namespace: kustomize does not rewrite a namespace inside a string", objects: checkNames}

// checkNames wants every string that carries a namespace to carry this
// overlay's: kustomize's namespace: rewrites no arguments and no file's content.
func checkNames(r manifest.Rendering, wrong reportObject) {
	for _, o := range r.Objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			wrong(o, "", "%v", err)
			continue
		}
		eachString(fields, func(s string) {
			for _, match := range carriesNamespace.FindAllStringSubmatch(s, -1) {
				if carried := match[1] + match[2]; carried != manifest.Namespace(r.Name) {
					wrong(o, match[0], "%q contains namespace %q, expected %q", match[0], carried, manifest.Namespace(r.Name))
				}
			}
		})
	}
}

var componentRule = Rule{Name: "component", Remedy: "label one Deployment app.kubernetes.io/component: server and one Deployment client; name its pods, its first container and the server's Service after it", objects: checkComponents}

// checkComponents wants a server and a client, and each to have one name for its
// Deployment, pods and container, the server for its Service too: by that name
// `lab run` and kubectl find them.
func checkComponents(r manifest.Rendering, wrong reportObject) {
	for _, part := range []string{manifest.Server, manifest.Client} {
		found := manifest.Components(r.Objects, part)
		if len(found) != 1 {
			wrong(nil, "", "%d Deployments are labelled %s: %s, expected 1", len(found), manifest.ComponentLabel, part)
			continue
		}
		d := found[0]
		if app := d.Spec.Template.Labels[nameLabel]; app != d.Name {
			wrong(d, app, "its pods are labelled %s: %s, expected %s", nameLabel, app, d.Name)
		}
		if c := manifest.MainContainer(d.Spec.Template); c.Name != d.Name {
			wrong(d, c.Name, "its first container is named %q, expected %q", c.Name, d.Name)
		}
		service, ok := manifest.Get[*corev1.Service](r.Objects, d.Name)
		if part == manifest.Server && (!ok || service.Spec.Selector[nameLabel] != d.Name) {
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

var selectorRule = Rule{Name: "selector", Remedy: "select by app.kubernetes.io/name alone, with the value of the pods' label", objects: checkSelectors}

// checkSelectors wants each selector to be the one name label alone, and to
// select pods that the overlay makes.
func checkSelectors(r manifest.Rendering, wrong reportObject) {
	check := func(of manifest.Object, what string, selector map[string]string, templates []manifest.Workload) {
		name := selector[nameLabel]
		if len(selector) != 1 || name == "" {
			wrong(of, name, "%s %v, expected %s alone", what, selector, nameLabel)
			return
		}
		for _, w := range templates {
			if labels.SelectorFromSet(selector).Matches(labels.Set(w.Template.Labels)) {
				return
			}
		}
		wrong(of, nameLabel+": "+name, "%s %v matches no pod", what, selector)
	}
	matchLabels := func(of manifest.Object, what string, s *metav1.LabelSelector, templates []manifest.Workload) {
		if s == nil || len(s.MatchExpressions) > 0 {
			wrong(of, "", "%s is not a list of labels", what)
			return
		}
		check(of, what, s.MatchLabels, templates)
	}
	pods := manifest.Workloads(r.Objects)
	for _, w := range pods {
		own := []manifest.Workload{w}
		if w.Selector != nil || !w.SelectsByItself() {
			matchLabels(w.Object, "selector", w.Selector, own)
		}
		for _, spread := range w.Template.Spec.TopologySpreadConstraints {
			matchLabels(w.Object, "topology spread", spread.LabelSelector, own)
		}
	}
	for _, service := range manifest.All[*corev1.Service](r.Objects) {
		check(service, "selector", service.Spec.Selector, pods)
	}
	for _, budget := range manifest.All[*policyv1.PodDisruptionBudget](r.Objects) {
		matchLabels(budget, "selector", budget.Spec.Selector, pods)
	}
}
