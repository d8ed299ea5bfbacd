package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// checkImmutable compares the flag immutable of `lab diff` with what a real API server
// refuses: both must agree on each change.
func checkImmutable(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	const (
		ns  = "lab-immutable-fields"
		pod = `{metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: example.com/a:1}]}}`
	)
	namespaced := func(version, kind, rest string) string {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s}\n%s\n", version, kind, strings.ToLower(kind), ns, rest)
	}
	global := func(version, kind, rest string) string {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: lab-immutable-fields}\n%s\n", version, kind, rest)
	}
	workload := func(kind, more string) string {
		return namespaced("apps/v1", kind, "spec: {"+more+"selector: {matchLabels: {app: a}}, template: "+pod+"}")
	}
	selector := []string{"matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}", "matchLabels: {app: b}}, template: {metadata: {labels: {app: b}}"}
	image := []string{"example.com/a:1", "example.com/a:2"}
	job := namespaced("batch/v1", "Job", "spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: a, image: example.com/a:1}]}}}")
	tests := []struct {
		name, object string
		edit         []string
		immutable    bool
	}{
		{"selector of a Deployment", workload("Deployment", "replicas: 0, "), selector, true},
		{"image of a Deployment", workload("Deployment", "replicas: 0, "), image, false},
		{"selector of a ReplicaSet", workload("ReplicaSet", "replicas: 0, "), selector, true},
		{"selector of a StatefulSet", workload("StatefulSet", "replicas: 0, serviceName: a, "), selector, true},
		{"serviceName of a StatefulSet", workload("StatefulSet", "replicas: 0, serviceName: a, "), []string{"serviceName: a", "serviceName: b"}, true},
		{"image of a StatefulSet", workload("StatefulSet", "replicas: 0, serviceName: a, "), image, false},
		{"selector of a DaemonSet", workload("DaemonSet", ""), selector, true},
		{"template of a Job", strings.Replace(job, "suspend: true", "suspend: false", 1), image, true},
		{"completions of a Job", job, []string{"suspend: true", "suspend: true, completions: 2"}, true},
		{"parallelism of a Job", job, []string{"suspend: true", "suspend: true, parallelism: 2"}, false},
		{"address of a Service", namespaced("v1", "Service", "spec: {ports: [{port: 80}]}"), []string{"spec: {ports", "spec: {clusterIP: None, ports"}, true},
		{"port of a Service", namespaced("v1", "Service", "spec: {ports: [{port: 80}]}"), []string{"port: 80", "port: 81"}, false},
		{"type of a Secret", namespaced("v1", "Secret", "type: a/b"), []string{"type: a/b", "type: c/d"}, true},
		{"data of an immutable Secret", namespaced("v1", "Secret", "immutable: true\ndata: {a: Yg==}"), []string{"Yg==", "Yw=="}, true},
		{"data of a ConfigMap", namespaced("v1", "ConfigMap", "data: {a: b}"), []string{"a: b", "a: c"}, false},
		{"data of an immutable ConfigMap", namespaced("v1", "ConfigMap", "immutable: true\ndata: {a: b}"), []string{"a: b", "a: c"}, true},
		{"access of a claim", namespaced("v1", "PersistentVolumeClaim", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"), []string{"ReadWriteOnce", "ReadWriteMany"}, true},
		{"addressType of an EndpointSlice", namespaced("discovery.k8s.io/v1", "EndpointSlice", "addressType: IPv4\nendpoints: []\nports: []"), []string{"IPv4", "IPv6"}, true},
		{"role of a RoleBinding", namespaced("rbac.authorization.k8s.io/v1", "RoleBinding", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}"), []string{"name: view", "name: edit"}, true},
		{"controller of an IngressClass", global("networking.k8s.io/v1", "IngressClass", "spec: {controller: example.com/a}"), []string{"example.com/a", "example.com/b"}, true},
		{"provisioner of a StorageClass", global("storage.k8s.io/v1", "StorageClass", "provisioner: example.com/a"), []string{"example.com/a", "example.com/b"}, true},
		{"value of a PriorityClass", global("scheduling.k8s.io/v1", "PriorityClass", "value: 1"), []string{"value: 1", "value: 2"}, true},
		{"node of a Pod", namespaced("v1", "Pod", "spec: {schedulingGates: [{name: example.com/a}], containers: [{name: a, image: example.com/a:1}], hostname: a}"), []string{"hostname: a", "hostname: b"}, true},
		{"image of a Pod", namespaced("v1", "Pod", "spec: {schedulingGates: [{name: example.com/a}], containers: [{name: a, image: example.com/a:1}]}"), image, false},
	}
	space, err := manifest.Unstructured([]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Apply(t.Context(), space...); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Delete(t.Context(), space...); err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(tt.object, tt.edit[0]) {
				t.Fatalf("the object has no %q", tt.edit[0])
			}
			before, err := manifest.Unstructured([]byte(tt.object))
			if err != nil {
				t.Fatal(err)
			}
			after, err := manifest.Unstructured([]byte(strings.ReplaceAll(tt.object, tt.edit[0], tt.edit[1])))
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Apply(t.Context(), before...); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := client.Delete(t.Context(), before...); err != nil {
					t.Error(err)
				}
			}()
			refused := client.DryRun(t.Context(), after...)
			result, err := diff.Compare("a", "b", diff.Unit{Name: "x", Before: before, After: after})
			if err != nil {
				t.Fatal(err)
			}
			flagged := slices.ContainsFunc(result.Flagged(), func(f diff.Flagged) bool { return f.Name == diff.FlagImmutable })
			if (refused != nil) != tt.immutable || flagged != tt.immutable {
				t.Errorf("the API server says %v, lab diff flags it: %t; want both to refuse: %t", refused, flagged, tt.immutable)
			}
		})
	}
}
