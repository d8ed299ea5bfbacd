package check

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// ignoredField is no rule, since what it reports is right.
var ignoredField = Rule{Name: "ignored-field", Remedy: "change it in the cluster, as kubectl scale does"}

// IgnoredFields returns, for overlays and variants, which fields are committed and
// do less than it seems: Argo CD sets them once.
func IgnoredFields(r *manifest.Repository, names ...string) ([]Violation, error) {
	var found []Violation
	ignored := r.Ignored()
	for _, name := range names {
		its, err := With(r, ignoredField, name, func(o *unstructured.Unstructured) error {
			if paths := ignored[name].Of(o); paths != nil {
				return fmt.Errorf("later commits of %s are ignored by Argo CD, which sets it only when it creates the object", strings.Join(paths, ", "))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		found = append(found, its...)
	}
	return merged(found), nil
}
