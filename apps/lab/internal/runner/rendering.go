package runner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// The servers' arguments that end connections.
const (
	ageFlag   = "--max-connection-age="
	graceFlag = "--max-connection-age-grace="
)

// duration reads a time from the servers' arguments, 0 where they do not have the flag.
func duration(servers *appsv1.Deployment, flag string) (time.Duration, error) {
	pod := servers.Spec.Template.Spec
	i := containerOf(pod, servers.Name)
	if i < 0 {
		return 0, fmt.Errorf("deployment %s has no container %[1]s", servers.Name)
	}
	for _, arg := range pod.Containers[i].Args {
		if value, ok := strings.CutPrefix(arg, flag); ok {
			return time.ParseDuration(value)
		}
	}
	return 0, nil
}

// changeOf says what an application must change to be balanced so: how the
// client differs from l4's, what it imports, and the rights of its account.
func changeOf(s Strategy, client, l4 *appsv1.Deployment, objects []*unstructured.Unstructured) report.Change {
	change := report.Change{Code: s.Code, Args: []string{}, Rights: []string{}}
	args := func(d *appsv1.Deployment) []string {
		return d.Spec.Template.Spec.Containers[0].Args
	}
	plain := args(l4)
	for _, arg := range args(client) {
		if !slices.Contains(plain, arg) {
			change.Args = append(change.Args, arg)
		}
	}
	account := client.Spec.Template.Spec.ServiceAccountName
	for _, o := range objects {
		if o.GetKind() != "Role" || o.GetName() != account {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			fields, _ := rule.(map[string]any)
			verbs, _, _ := unstructured.NestedStringSlice(fields, "verbs")
			resources, _, _ := unstructured.NestedStringSlice(fields, "resources")
			change.Rights = append(change.Rights, strings.Join(verbs, ", ")+" "+strings.Join(resources, ", "))
		}
	}
	return change
}
