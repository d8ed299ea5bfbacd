package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reviewsAtOnce limits how many questions the API server has to answer at once.
const reviewsAtOnce = 16

// Right is what the API server must let its user do.
type Right struct {
	// Verb is the API's: "get", "deletecollection".
	Verb string
	// Group is that of the API, "" for the core's; Resource is "pods" or
	// "pods/log".
	Group, Resource string
	// Namespace is where; "" is everywhere, or for what is in no namespace.
	Namespace string
	// Name is the only object; "" is any.
	Name string
}

// resource returns "deployments.apps/scale".
func (r Right) resource() string {
	name, sub, _ := strings.Cut(r.Resource, "/")
	if r.Group != "" {
		name += "." + r.Group
	}
	if sub != "" {
		name += "/" + sub
	}
	return name
}

// Missing asks the API server which of the rights this client's user does not
// have, in a SelfSubjectAccessReview each, and returns them sorted.
func (c *Client) Missing(ctx context.Context, rights ...Right) ([]Right, error) {
	rights = distinct(rights)
	missing := make([]bool, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(reviewsAtOnce)
	for i, r := range rights {
		group.Go(func() error {
			resource, sub, _ := strings.Cut(r.Resource, "/")
			review, err := c.Typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Name: r.Name,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("kube: asking whether this user may %s %s: %w", r.Verb, r.resource(), err)
			}
			missing[i] = !review.Status.Allowed
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var lacks []Right
	for i, r := range rights {
		if missing[i] {
			lacks = append(lacks, r)
		}
	}
	return lacks, nil
}

func distinct(rights []Right) []Right {
	rights = slices.Clone(rights)
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Verb, b.Verb))
	})
	return slices.Compact(rights)
}

// Describe says the rights in one line, those alike together: "create, patch
// deployments.apps in namespaces a, b; list nodes".
func Describe(rights ...Right) string {
	type place struct{ resource, namespace, name string }
	verbs := map[place][]string{}
	for _, r := range distinct(rights) {
		at := place{r.resource(), r.Namespace, r.Name}
		verbs[at] = append(verbs[at], r.Verb)
	}
	type what struct{ verbs, resource, scope string }
	where := map[what][]string{}
	for at, v := range verbs {
		w := what{strings.Join(v, ", "), at.resource, ""}
		switch {
		case at.namespace != "":
			w.scope = "in namespace"
			where[w] = append(where[w], at.namespace)
		case at.name != "":
			where[w] = append(where[w], at.name)
		default:
			where[w] = append(where[w], "")
		}
	}
	var texts []string
	for w, names := range where {
		slices.Sort(names)
		if w.scope != "" && len(names) > 1 {
			w.scope += "s"
		}
		texts = append(texts, strings.Join(strings.Fields(w.verbs+" "+w.resource+" "+w.scope+" "+strings.Join(names, ", ")), " "))
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// ClusterRole returns the role that has just these rights. It names no namespace:
// a RoleBinding in one that is not there yet cannot be.
func ClusterRole(name string, rights ...Right) *rbacv1.ClusterRole {
	type scope struct{ group, resource, named string }
	verbs, names := map[scope][]string{}, map[scope][]string{}
	for _, r := range distinct(rights) {
		s := scope{group: r.Group, resource: r.Resource}
		if r.Name != "" {
			s.named = "named"
			names[s] = append(names[s], r.Name)
		}
		verbs[s] = append(verbs[s], r.Verb)
	}
	rules := map[string]*rbacv1.PolicyRule{} // by all but the resources
	for s, v := range verbs {
		v, n := sorted(v), sorted(names[s])
		key := fmt.Sprint(s.group, v, n)
		if rules[key] == nil {
			rules[key] = &rbacv1.PolicyRule{APIGroups: []string{s.group}, Verbs: v, ResourceNames: n}
		}
		rules[key].Resources = sorted(append(rules[key].Resources, s.resource))
	}
	role := &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}
	for _, r := range rules {
		role.Rules = append(role.Rules, *r)
	}
	slices.SortFunc(role.Rules, func(a, b rbacv1.PolicyRule) int {
		return cmp.Or(cmp.Compare(a.APIGroups[0], b.APIGroups[0]), cmp.Compare(a.Resources[0], b.Resources[0]),
			slices.Compare(a.Verbs, b.Verbs))
	})
	return role
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
