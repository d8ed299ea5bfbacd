package diff

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fixed is a field that the API server does not let change; but are the fields
// directly below it that may.
type fixed struct {
	path string
	but  []string
}

var fixedFields = map[schema.GroupKind][]fixed{
	{Group: "apps", Kind: "Deployment"}:                {{path: "spec.selector"}},
	{Group: "apps", Kind: "DaemonSet"}:                 {{path: "spec.selector"}},
	{Group: "apps", Kind: "ReplicaSet"}:                {{path: "spec.selector"}},
	{Group: "apps", Kind: "StatefulSet"}:               {{path: "spec", but: []string{"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}}},
	{Group: "batch", Kind: "Job"}:                      {{path: "spec.selector"}, {path: "spec.template"}, {path: "spec.completionMode"}, {path: "spec.completions"}, {path: "spec.podFailurePolicy"}, {path: "spec.successPolicy"}, {path: "spec.backoffLimitPerIndex"}, {path: "spec.managedBy"}},
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: {{path: "addressType"}},
	{Group: "networking.k8s.io", Kind: "IngressClass"}: {{path: "spec.controller"}},
	{Kind: "Pod"}: {{path: "spec", but: []string{"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "containers", "initContainers", "schedulingGates"}}},
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:         {{path: "roleRef"}},
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:  {{path: "roleRef"}},
	{Kind: "PersistentVolumeClaim"}:                                   {{path: "spec", but: []string{"resources", "volumeAttributesClassName"}}},
	{Kind: "Secret"}:                                                  {{path: "type"}},
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                   {{path: "provisioner"}, {path: "parameters"}, {path: "reclaimPolicy"}, {path: "volumeBindingMode"}},
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:               {{path: "value"}, {path: "preemptionPolicy"}},
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: {{path: "spec.scope"}, {path: "spec.names.kind"}},
}

// immutableBy matches the words in which the API server refuses a change of such
// a field.
var immutableBy = regexp.MustCompile(`immutable|may not change|cannot change|can't be changed|updates to \S+ spec for fields other than`)

// immutable says which fields change that cannot.
func immutable(kind schema.GroupKind, before, after map[string]any) []string {
	var all []string
	for _, f := range fixedFields[kind] {
		if !reflect.DeepEqual(f.of(before), f.of(after)) {
			all = append(all, fmt.Sprintf("%s cannot change: the API server refuses it until the %s is deleted", f.path, kind.Kind))
		}
	}
	switch kind {
	case schema.GroupKind{Kind: "Service"}:
		all = append(all, clusterIP(before, after)...)
	case schema.GroupKind{Kind: "ConfigMap"}, schema.GroupKind{Kind: "Secret"}:
		if before["immutable"] != true {
			break
		}
		for _, field := range []string{"immutable", "data", "binaryData", "stringData"} {
			if !reflect.DeepEqual(before[field], after[field]) {
				all = append(all, fmt.Sprintf("%s cannot change: the %s is marked immutable", field, kind.Kind))
			}
		}
	}
	return all
}

// of returns the field's value without what may change below it.
func (f fixed) of(content map[string]any) any {
	value := at(content, f.path)
	fields, ok := value.(map[string]any)
	if !ok || len(f.but) == 0 {
		return value
	}
	fields = maps.Clone(fields)
	maps.DeleteFunc(fields, func(name string, _ any) bool { return slices.Contains(f.but, name) })
	return fields
}

// clusterIP says whether a Service becomes headless or is no longer. An address
// that is no longer asked for is kept, which harms nobody.
func clusterIP(before, after map[string]any) []string {
	if stringAt(before, "spec.type") == "ExternalName" || stringAt(after, "spec.type") == "ExternalName" {
		return nil
	}
	from, to := stringAt(before, "spec.clusterIP"), stringAt(after, "spec.clusterIP")
	switch {
	case from == to, to == "" && from != "None":
		return nil
	case to == "":
		return []string{"spec.clusterIP cannot change: the API server keeps None until the Service is deleted"}
	case from == "":
		from = "an address of the cluster's choice"
	}
	return []string{fmt.Sprintf("spec.clusterIP cannot change from %s to %s: the API server refuses it until the Service is deleted", from, to)}
}
