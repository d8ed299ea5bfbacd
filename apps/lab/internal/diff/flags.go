package diff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Flag is the name of a harm that a change can do, and a sentence about it.
type Flag struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// The names of flags. Scripts use them: they stay.
const (
	FlagImage     = "image"     // a container of a workload that was there gets another image
	FlagRBAC      = "rbac"      // who may do what changes
	FlagImmutable = "immutable" // the API server refuses the change, or ignores it
	FlagPruned    = "pruned"    // an object is no longer rendered
	FlagIgnored   = "ignored"   // Argo CD does not set the field that changes
	FlagSecurity  = "security"  // what guards the cluster opens, or changes
)

// Flags are the names of all flags.
var Flags = []string{FlagImage, FlagRBAC, FlagSecurity, FlagImmutable, FlagPruned, FlagIgnored}

// flags returns the harm that the change of a pair with the given contents can do.
func (p pair) flags(before, after map[string]any, refused string, u Unit) []Flag {
	var all []Flag
	flag := func(name string, texts []string) {
		for _, t := range texts {
			all = append(all, Flag{name, t})
		}
	}
	if p.after == nil {
		flag(FlagPruned, pruned(p))
		flag(FlagSecurity, security(p.before.GroupVersionKind().GroupKind(), before, nil))
		return all
	}
	kind := p.after.GroupVersionKind().GroupKind()
	flag(FlagRBAC, rbac(kind, before, after))
	flag(FlagSecurity, security(kind, before, after))
	if p.before == nil {
		flag(FlagSecurity, p.outside(u.Admitted))
		return all
	}
	flag(FlagImage, images(before, after))
	for _, path := range u.Ignored.Of(p.after) {
		if from, to := at(before, path), at(after, path); !reflect.DeepEqual(from, to) {
			flag(FlagIgnored, []string{fmt.Sprintf("%s stays as it is in the cluster: Argo CD ignores the change from %v to %v", path, from, to)})
		}
	}
	fields := immutable(kind, before, after)
	if immutableBy.MatchString(refused) && len(fields) == 0 {
		fields = []string{"the API server refuses it: " + refused}
	}
	if how := recreated(p.after); how != "" {
		for i, field := range fields {
			path, _, _ := strings.Cut(field, " cannot change")
			fields[i] = fmt.Sprintf("%s cannot change: Argo CD deletes the object and creates it again (%s)", path, how)
		}
	}
	// Under another name it is another object, not a change of this one.
	if p.before.GetName() == p.after.GetName() {
		flag(FlagImmutable, fields)
	}
	return all
}

// recreated returns the sync option with which Argo CD deletes and creates an object
// that the API server does not let change, or "". Force=true does: Argo CD then applies
// or replaces as kubectl does with --force. Replace=true alone does not.
// Source: Argo CD, "Sync Options"; kubectl apply --force.
func recreated(o *unstructured.Unstructured) string {
	const force = "Force=true"
	options := o.GetAnnotations()["argocd.argoproj.io/sync-options"]
	if slices.ContainsFunc(strings.Split(options, ","), func(option string) bool { return strings.TrimSpace(option) == force }) {
		return force
	}
	return ""
}

// pruned says who deletes an object that is no longer rendered.
func pruned(p pair) []string {
	options := p.before.GetAnnotations()["argocd.argoproj.io/sync-options"]
	if strings.Contains(options, "Prune=false") {
		return nil
	}
	what, once := "", ""
	if strings.Contains(options, "Prune=confirm") {
		once = " once that is confirmed"
	}
	switch kind := p.before.GroupVersionKind().GroupKind(); {
	case kind == schema.GroupKind{Kind: "Namespace"}:
		what = " with all that is in it"
	case kind == schema.GroupKind{Group: "argoproj.io", Kind: "Application"} && len(p.before.GetFinalizers()) > 0:
		what = " with all that it deployed"
	}
	return []string{"it is no longer rendered: Argo CD deletes it" + what + once + ", kubectl apply leaves it behind"}
}

// images says which containers get another image.
func images(before, after map[string]any) []string {
	old, current := containers(before), containers(after)
	if old == nil {
		return nil
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(current)) {
		switch image, was := old[name]; {
		case !was:
			all = append(all, fmt.Sprintf("%s is added with %s", name, current[name]))
		case image != current[name]:
			all = append(all, fmt.Sprintf("%s: %s becomes %s%s", name, image, current[name], kept(image, current[name])))
		}
	}
	return all
}

// kept says what an image keeps that should change with the rest of it: the digest
// decides what runs, and the tag is what people read.
func kept(before, after string) string {
	name, tag, digest := manifest.SplitReference(before)
	newName, newTag, newDigest := manifest.SplitReference(after)
	switch {
	case digest == "" || newDigest == "":
		return ""
	case digest == newDigest && tag != newTag:
		return ": another tag and the same digest, so what runs stays the same"
	case digest == newDigest && name != newName:
		return ": another name and the same digest, so what runs stays the same"
	case name == newName && tag == newTag && tag != "":
		return ": another digest under the same tag"
	}
	return ""
}

// containers returns the images of an object's containers by "container name",
// or nil if it makes no pods.
func containers(content map[string]any) map[string]string {
	for _, path := range []string{"spec.template.spec", "spec.jobTemplate.spec.template.spec", "spec"} {
		pod, _ := at(content, path).(map[string]any)
		if items(pod, "containers") == nil {
			continue
		}
		all := map[string]string{}
		for _, list := range []struct{ field, what string }{{"initContainers", "init container "}, {"containers", "container "}} {
			for _, c := range items(pod, list.field) {
				all[list.what+stringAt(c, "name")] = stringAt(c, "image")
			}
		}
		return all
	}
	return nil
}

const rbacGroup = "rbac.authorization.k8s.io"

// rbac says who gains or loses which right.
func rbac(kind schema.GroupKind, before, after map[string]any) []string {
	if kind.Group != rbacGroup {
		return nil
	}
	var all []string
	switch kind.Kind {
	case "Role", "ClusterRole":
		old, current := rights(before), rights(after)
		if gained := without(current, old); len(gained) > 0 {
			all = append(all, "it grants "+rightsText(gained))
		}
		if lost := without(old, current); len(lost) > 0 {
			all = append(all, "it no longer grants "+rightsText(lost))
		}
		if !reflect.DeepEqual(before["aggregationRule"], after["aggregationRule"]) {
			all = append(all, "its aggregationRule changes")
		}
	case "RoleBinding", "ClusterRoleBinding":
		old, current := subjects(before), subjects(after)
		role := roleText(after)
		if before != nil && roleText(before) != role {
			all = append(all, fmt.Sprintf("it binds %s instead of %s", role, roleText(before)))
		}
		for _, s := range current {
			if !slices.Contains(old, s) {
				all = append(all, fmt.Sprintf("%s gets %s", s, role))
			}
		}
		for _, s := range old {
			if !slices.Contains(current, s) {
				all = append(all, fmt.Sprintf("%s loses %s", s, roleText(before)))
			}
		}
	}
	return all
}

func roleText(binding map[string]any) string {
	return stringAt(binding, "roleRef.kind") + " " + stringAt(binding, "roleRef.name")
}

func subjects(binding map[string]any) []string {
	var all []string
	for _, s := range items(binding, "subjects") {
		name := stringAt(s, "name")
		if namespace := stringAt(s, "namespace"); namespace != "" {
			name = namespace + "/" + name
		}
		all = append(all, stringAt(s, "kind")+" "+name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// right is one verb on one thing. The name is "" for all of a resource's objects.
type right struct {
	verb, group, resource, name, url string
}

// rights expands a role's rules.
func rights(role map[string]any) []right {
	var all []right
	for _, rule := range items(role, "rules") {
		names := texts(rule, "resourceNames")
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range texts(rule, "verbs") {
			for _, url := range texts(rule, "nonResourceURLs") {
				all = append(all, right{verb: verb, url: url})
			}
			for _, group := range texts(rule, "apiGroups") {
				for _, resource := range texts(rule, "resources") {
					for _, name := range names {
						all = append(all, right{verb: verb, group: group, resource: resource, name: name})
					}
				}
			}
		}
	}
	return all
}

func texts(content map[string]any, path string) []string {
	list, _ := at(content, path).([]any)
	var all []string
	for _, element := range list {
		all = append(all, fmt.Sprint(element))
	}
	return all
}

// without returns those of all that none of others includes.
func without(all, others []right) []right {
	return slices.DeleteFunc(slices.Clone(all), func(r right) bool {
		return slices.ContainsFunc(others, func(o right) bool { return o.includes(r) })
	})
}

func (r right) includes(other right) bool {
	same := func(pattern, value string) bool { return pattern == value || pattern == "*" }
	url := r.url == other.url || strings.HasSuffix(r.url, "*") && other.url != "" && strings.HasPrefix(other.url, strings.TrimSuffix(r.url, "*"))
	return url && same(r.verb, other.verb) && same(r.group, other.group) && same(r.resource, other.resource) && (r.name == "" || r.name == other.name)
}

// rightsText joins the verbs on the same thing, "list, watch on discovery.k8s.io/endpointslices".
func rightsText(all []right) string {
	verbs := map[string][]string{}
	var things []string
	for _, r := range all {
		thing := r.url
		if thing == "" {
			thing = strings.TrimPrefix(r.group+"/"+r.resource, "/")
		}
		if r.name != "" {
			thing += " named " + r.name
		}
		if verbs[thing] == nil {
			things = append(things, thing)
		}
		verbs[thing] = append(verbs[thing], r.verb)
	}
	slices.Sort(things)
	for i, thing := range things {
		slices.Sort(verbs[thing])
		things[i] = strings.Join(slices.Compact(verbs[thing]), ", ") + " on " + thing
	}
	return strings.Join(things, "; ")
}
