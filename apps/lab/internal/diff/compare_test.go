package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ns}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: first, image: "init:1"}
      containers:
      - {name: web, image: "web:1", args: [--a, --b], ports: [{containerPort: 80}, {containerPort: 90}]}
      volumes: [{name: config, configMap: {name: config-2222222222}}, {name: tmp, emptyDir: {}}]
`

const service = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ns}
spec: {clusterIP: None, ports: [{name: a, port: 80}, {name: b, port: 90}]}
`

const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: ns}
rules:
- {apiGroups: [""], resources: [pods, services], verbs: [list, watch]}
`

const binding = `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web, namespace: ns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects:
- {kind: ServiceAccount, name: a, namespace: ns}
`

const configMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config-2222222222, namespace: ns}
data: {file: "one\ntwo\n"}
`

const secret = `
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: ns}
type: Opaque
data: {same: c2FtZQ==, other: b2xk, old: Z29uZQ==}
`

const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk, namespace: ns}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

func decode(t *testing.T, documents ...string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := manifest.Unstructured([]byte(strings.Join(documents, "\n---\n")))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// edit replaces texts, given in pairs, that must occur.
func edit(t *testing.T, content string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(content, pairs[i]) {
			t.Fatalf("there is no %q to edit in:\n%s", pairs[i], content)
		}
		content = strings.ReplaceAll(content, pairs[i], pairs[i+1])
	}
	return content
}

func compare(t *testing.T, units ...diff.Unit) diff.Result {
	t.Helper()
	r, err := diff.Compare("one side", "the other", units...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outline returns a line for each object that differs and for each of its flags.
func outline(r diff.Result) []string {
	var all []string
	for _, o := range r.Overlays {
		for _, object := range o.Objects {
			all = append(all, fmt.Sprintf("%s %s", object.Change, object))
			for _, f := range object.Flags {
				all = append(all, f.Name+": "+f.Text)
			}
		}
	}
	return all
}

// Each flag is raised by what it is for, and by nothing that resembles it; what
// is no difference shows no object at all.
func TestCompare(t *testing.T) {
	const (
		refuses = " cannot change: the API server refuses it until the %s is deleted"
		prunes  = "pruned: it is no longer rendered: Argo CD deletes it%s, kubectl apply leaves it behind"
	)
	daemonSet := func(s string) string { return edit(t, s, "kind: Deployment", "kind: DaemonSet") }
	clusterRole := edit(t, role, "kind: Role", "kind: ClusterRole", "namespace: ns", "labels: {}")
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n"
	application := "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: ns, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io]}\nspec: {syncPolicy: {syncOptions: [A=true, B=true]}}\n"
	fixed := configMap + "immutable: true\n"
	tests := []struct {
		name          string
		before, after []string
		want          []string
	}{
		{name: "same", before: []string{deployment, service}, after: []string{deployment, service}},
		{name: "order_of_objects", before: []string{deployment, service}, after: []string{service, deployment}},
		{
			name:   "order_of_sets",
			before: []string{deployment, service, role},
			after: []string{
				edit(t, deployment, "[{containerPort: 80}, {containerPort: 90}]", "[{containerPort: 90}, {containerPort: 80}]",
					"[{name: config, configMap: {name: config-2222222222}}, {name: tmp, emptyDir: {}}]", "[{name: tmp, emptyDir: {}}, {name: config, configMap: {name: config-2222222222}}]"),
				edit(t, service, "[{name: a, port: 80}, {name: b, port: 90}]", "[{name: b, port: 90}, {name: a, port: 80}]"),
				edit(t, role, "[pods, services]", "[services, pods]", "[list, watch]", "[watch, list]"),
			},
		},
		{
			name:   "order_of_arguments",
			before: []string{deployment}, after: []string{edit(t, deployment, "[--a, --b]", "[--b, --a]")},
			want: []string{"changed Deployment ns/web"},
		},
		{
			name:   "order_where_the_kind_is_not_known",
			before: []string{application}, after: []string{edit(t, application, "[A=true, B=true]", "[B=true, A=true]")},
			want: []string{"changed Application argocd/ns"},
		},
		{
			name:   "what_the_api_server_writes",
			before: []string{service},
			after:  []string{edit(t, service, "namespace: ns", "namespace: ns, uid: x, generation: 3, resourceVersion: '7', creationTimestamp: null, annotations: {lab.grpc-lb.dev/made: x}, managedFields: []") + "status: {loadBalancer: {}}\n"},
		},
		{
			name:   "annotation",
			before: []string{service}, after: []string{edit(t, service, "namespace: ns", "namespace: ns, annotations: {a: b}")},
			want: []string{"changed Service ns/web"},
		},
		{
			name:   "version",
			before: []string{role}, after: []string{edit(t, role, "k8s.io/v1", "k8s.io/v1beta1")},
			want: []string{"changed Role ns/web"},
		},

		{
			name:   "hash_alone",
			before: []string{deployment, configMap}, after: []string{edit(t, deployment, "config-2222222222", "config-7777777777"), edit(t, configMap, "config-2222222222", "config-7777777777")},
		},
		{
			name:   "hash_and_content",
			before: []string{deployment, configMap}, after: []string{edit(t, deployment, "config-2222222222", "config-7777777777"), edit(t, configMap, "config-2222222222", "config-7777777777", "two", "three")},
			want: []string{"changed ConfigMap ns/config-7777777777"},
		},
		{
			name:   "no_hash_any_more",
			before: []string{configMap}, after: []string{edit(t, configMap, "config-2222222222", "config")},
			want: []string{"added ConfigMap ns/config", "removed ConfigMap ns/config-2222222222", fmt.Sprintf(prunes, "")},
		},
		{
			name:   "no_hash_at_all",
			before: []string{edit(t, configMap, "config-2222222222", "config-one")}, after: []string{edit(t, configMap, "config-2222222222", "config-two")},
			want: []string{"added ConfigMap ns/config-two", "removed ConfigMap ns/config-one", fmt.Sprintf(prunes, "")},
		},
		{
			name:   "a_name_like_a_hash_of_another_kind",
			before: []string{edit(t, service, "name: web", "name: web-2222222222")}, after: []string{edit(t, service, "name: web", "name: web-7777777777")},
			want: []string{"added Service ns/web-7777777777", "removed Service ns/web-2222222222", fmt.Sprintf(prunes, "")},
		},
		{
			name:   "older_generations_of_a_hash",
			before: []string{edit(t, configMap, "config-2222222222", "config-bbbbbbbbbb"), configMap}, after: []string{configMap},
		},

		{
			name:   "image",
			before: []string{deployment}, after: []string{edit(t, deployment, "web:1", "web:2", "init:1", "init:2")},
			want: []string{"changed Deployment ns/web", "image: container web: web:1 becomes web:2", "image: init container first: init:1 becomes init:2"},
		},
		{
			name:   "image_of_a_release",
			before: []string{edit(t, deployment, "web:1", "x/web:1@sha256:0a")}, after: []string{edit(t, deployment, "web:1", "x/web:2@sha256:0b")},
			want: []string{"changed Deployment ns/web", "image: container web: x/web:1@sha256:0a becomes x/web:2@sha256:0b"},
		},
		{
			name:   "tag_without_its_digest",
			before: []string{edit(t, deployment, "web:1", "x/web:1@sha256:0a")}, after: []string{edit(t, deployment, "web:1", "x/web:2@sha256:0a")},
			want: []string{"changed Deployment ns/web", "image: container web: x/web:1@sha256:0a becomes x/web:2@sha256:0a: another tag and the same digest, so what runs stays the same"},
		},
		{
			name:   "digest_without_its_tag",
			before: []string{edit(t, deployment, "web:1", "x/web:1@sha256:0a")}, after: []string{edit(t, deployment, "web:1", "x/web:1@sha256:0b")},
			want: []string{"changed Deployment ns/web", "image: container web: x/web:1@sha256:0a becomes x/web:1@sha256:0b: another digest under the same tag"},
		},
		{
			name:   "digest_under_another_name",
			before: []string{edit(t, deployment, "web:1", "x/web:1@sha256:0a")}, after: []string{edit(t, deployment, "web:1", "y/web:1@sha256:0a")},
			want: []string{"changed Deployment ns/web", "image: container web: x/web:1@sha256:0a becomes y/web:1@sha256:0a: another name and the same digest, so what runs stays the same"},
		},
		{
			name:   "image_of_another_container",
			before: []string{deployment}, after: []string{edit(t, deployment, "- {name: web,", "- {name: side, image: 'side:1'}\n      - {name: web,")},
			want: []string{"changed Deployment ns/web", "image: container side is added with side:1"},
		},
		{
			name:   "image_of_a_cron_job",
			before: []string{"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: j, image: a}]}}}}}"},
			after:  []string{"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: j, image: b}]}}}}}"},
			want:   []string{"changed CronJob j", "image: container j: a becomes b"},
		},
		{name: "no_image_changes", before: []string{deployment}, after: []string{edit(t, deployment, "[--a, --b]", "[--a]")}, want: []string{"changed Deployment ns/web"}},
		{name: "image_of_a_new_workload", after: []string{deployment}, want: []string{"added Deployment ns/web"}},

		{
			name:   "rule_added",
			before: []string{role}, after: []string{role + "- {apiGroups: [apps], resources: [deployments], resourceNames: [web], verbs: [update, get]}\n"},
			want: []string{"changed Role ns/web", "rbac: it grants get, update on apps/deployments named web"},
		},
		{
			name:   "rule_wider",
			before: []string{role}, after: []string{edit(t, role, "[pods, services]", "['*']")},
			want: []string{"changed Role ns/web", "rbac: it grants list, watch on *"},
		},
		{
			name:   "rule_narrower",
			before: []string{role}, after: []string{edit(t, role, "[list, watch]", "[list]")},
			want: []string{"changed Role ns/web", "rbac: it no longer grants watch on pods; watch on services"},
		},
		{
			name:   "rules_split_but_the_same_rights",
			before: []string{role},
			after:  []string{edit(t, role, `- {apiGroups: [""], resources: [pods, services]`, "- {apiGroups: [''], resources: [services], verbs: [watch, list]}\n- {apiGroups: [''], resources: [pods]")},
			want:   []string{"changed Role ns/web"},
		},
		{
			name:   "role_relabelled",
			before: []string{role}, after: []string{edit(t, role, "namespace: ns", "namespace: ns, labels: {a: b}")},
			want: []string{"changed Role ns/web"},
		},
		{
			name: "role_added", after: []string{role},
			want: []string{"added Role ns/web", "rbac: it grants list, watch on pods; list, watch on services"},
		},
		{
			name:   "cluster_role",
			before: []string{clusterRole + "- {nonResourceURLs: ['/a/*'], verbs: [get]}\n"},
			after:  []string{clusterRole + "- {nonResourceURLs: ['/a/b', /c], verbs: [get]}\naggregationRule: {}\n"},
			want:   []string{"changed ClusterRole web", "rbac: it grants get on /c", "rbac: it no longer grants get on /a/*", "rbac: its aggregationRule changes"},
		},
		{
			name:   "subject_added",
			before: []string{binding}, after: []string{binding + "- {kind: Group, name: all}\n"},
			want: []string{"changed RoleBinding ns/web", "rbac: Group all gets Role web"},
		},
		{
			name:   "subject_removed",
			before: []string{binding + "- {kind: Group, name: all}\n"}, after: []string{binding},
			want: []string{"changed RoleBinding ns/web", "rbac: Group all loses Role web"},
		},
		{
			name:   "subjects_reordered",
			before: []string{binding + "- {kind: Group, name: all}\n"},
			after:  []string{edit(t, binding, "subjects:\n", "subjects:\n- {kind: Group, name: all}\n")},
		},
		{
			name:   "role_ref",
			before: []string{binding}, after: []string{edit(t, binding, "kind: Role, name: web", "kind: Role, name: admin")},
			want: []string{"changed RoleBinding ns/web", "rbac: it binds Role admin instead of Role web", "immutable: roleRef" + fmt.Sprintf(refuses, "RoleBinding")},
		},

		{
			name:   "selector_of_a_deployment",
			before: []string{deployment}, after: []string{edit(t, deployment, "matchLabels: {app: web}", "matchLabels: {app: web, b: c}")},
			want: []string{"changed Deployment ns/web", "immutable: spec.selector" + fmt.Sprintf(refuses, "Deployment")},
		},
		{
			name:   "selector_of_a_daemon_set",
			before: []string{daemonSet(deployment)}, after: []string{daemonSet(edit(t, deployment, "matchLabels: {app: web}", "matchLabels: {b: c}"))},
			want: []string{"changed DaemonSet ns/web", "immutable: spec.selector" + fmt.Sprintf(refuses, "DaemonSet")},
		},
		{
			name:   "labels_of_pods_alone",
			before: []string{deployment}, after: []string{edit(t, deployment, "labels: {app: web}", "labels: {app: web, b: c}")},
			want: []string{"changed Deployment ns/web"},
		},
		{
			name:   "selector_of_a_service",
			before: []string{service}, after: []string{edit(t, service, "clusterIP: None", "clusterIP: None, selector: {a: b}")},
			want: []string{"changed Service ns/web"},
		},
		{
			name:   "headless_no_more",
			before: []string{service}, after: []string{edit(t, service, "clusterIP: None, ", "")},
			want: []string{"changed Service ns/web", "immutable: spec.clusterIP cannot change: the API server keeps None until the Service is deleted"},
		},
		{
			name:   "headless_now",
			before: []string{edit(t, service, "clusterIP: None, ", "")}, after: []string{service},
			want: []string{"changed Service ns/web", "immutable: spec.clusterIP cannot change from an address of the cluster's choice to None: the API server refuses it until the Service is deleted"},
		},
		{
			name:   "another_address",
			before: []string{edit(t, service, "None", "10.0.0.1")}, after: []string{edit(t, service, "None", "10.0.0.2")},
			want: []string{"changed Service ns/web", "immutable: spec.clusterIP cannot change from 10.0.0.1 to 10.0.0.2: the API server refuses it until the Service is deleted"},
		},
		{
			name:   "address_no_longer_asked_for",
			before: []string{edit(t, service, "None", "10.0.0.1")}, after: []string{edit(t, service, "clusterIP: None, ", "")},
			want: []string{"changed Service ns/web"},
		},
		{
			name:   "external_name",
			before: []string{service}, after: []string{edit(t, service, "clusterIP: None", "type: ExternalName")},
			want: []string{"changed Service ns/web"},
		},
		{
			name:   "immutable_config_map",
			before: []string{fixed}, after: []string{edit(t, fixed, "two", "three")},
			want: []string{"changed ConfigMap ns/config-2222222222", "immutable: data cannot change: the ConfigMap is marked immutable"},
		},
		{
			name:   "immutable_config_map_under_another_hash",
			before: []string{fixed}, after: []string{edit(t, fixed, "two", "three", "config-2222222222", "config-7777777777")},
			want: []string{"changed ConfigMap ns/config-7777777777"},
		},
		{
			name:   "becomes_immutable",
			before: []string{configMap}, after: []string{fixed},
			want: []string{"changed ConfigMap ns/config-2222222222"},
		},
		{
			name:   "type_of_a_secret",
			before: []string{secret}, after: []string{edit(t, secret, "Opaque", "kubernetes.io/tls")},
			want: []string{"changed Secret ns/password", "security: a Secret is in the manifests: everybody who reads the repository can read it", "immutable: type" + fmt.Sprintf(refuses, "Secret")},
		},
		{
			name:   "access_of_a_claim",
			before: []string{claim}, after: []string{edit(t, claim, "ReadWriteOnce", "ReadWriteMany")},
			want: []string{"changed PersistentVolumeClaim ns/disk", "immutable: spec" + fmt.Sprintf(refuses, "PersistentVolumeClaim")},
		},
		{
			name:   "size_of_a_claim",
			before: []string{claim}, after: []string{edit(t, claim, "1Gi", "2Gi")},
			want: []string{"changed PersistentVolumeClaim ns/disk"},
		},

		{name: "pruned", before: []string{service, deployment}, after: []string{deployment}, want: []string{"removed Service ns/web", fmt.Sprintf(prunes, "")}},
		{name: "pruned_namespace", before: []string{namespace}, want: []string{"removed Namespace ns", fmt.Sprintf(prunes, " with all that is in it")}},
		{name: "pruned_application", before: []string{application}, want: []string{"removed Application argocd/ns", fmt.Sprintf(prunes, " with all that it deployed")}},
		{
			name:   "pruned_once_confirmed",
			before: []string{edit(t, namespace, "name: ns", "name: ns, annotations: {argocd.argoproj.io/sync-options: 'Prune=confirm'}")},
			want:   []string{"removed Namespace ns", fmt.Sprintf(prunes, " with all that is in it once that is confirmed")},
		},
		{
			name:   "pruned_but_kept",
			before: []string{edit(t, service, "namespace: ns", "namespace: ns, annotations: {argocd.argoproj.io/sync-options: 'Prune=false'}")},
			want:   []string{"removed Service ns/web"},
		},
		{name: "not_pruned", before: []string{service}, after: []string{service, namespace}, want: []string{"added Namespace ns"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := compare(t, diff.Unit{Name: "x", Before: decode(t, tt.before...), After: decode(t, tt.after...)})
			if diff := cmp.Diff(tt.want, outline(r)); diff != "" {
				t.Errorf("objects and flags (-want +got):\n%s", diff)
			}
			if r.Differs() != (tt.want != nil) {
				t.Errorf("Differs() = %t", r.Differs())
			}
			for _, o := range r.Overlays[0].Objects {
				if o.Diff == "" {
					t.Errorf("%s has no difference", o)
				}
			}
		})
	}
}

// The difference of a hashed ConfigMap is that of its content, under one name,
// and the note says what rolls out for it.
func TestHashed(t *testing.T) {
	r := compare(t, diff.Unit{
		Name:   "x",
		Before: decode(t, deployment, configMap),
		After:  decode(t, edit(t, deployment, "config-2222222222", "config-7777777777"), edit(t, configMap, "config-2222222222", "config-7777777777", "two", "three")),
	})
	want := []diff.Object{{
		APIVersion: "v1", Kind: "ConfigMap", Namespace: "ns", Name: "config-7777777777", Change: diff.Changed,
		Note: "was config-2222222222: the new name rolls Deployment web out anew",
		Diff: `--- before/x/ConfigMap/ns/config-7777777777
+++ after/x/ConfigMap/ns/config-7777777777
@@ -2,7 +2,7 @@
 data:
   file: |
     one
-    two
+    three
 kind: ConfigMap
 metadata:
   name: config
`,
	}}
	if diff := cmp.Diff(want, r.Overlays[0].Objects); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// No value of a Secret is shown, in whatever way it changed.
func TestSecret(t *testing.T) {
	changed := edit(t, secret, "other: b2xk", "other: bmV3", ", old: Z29uZQ==", ", more: bW9yZQ==")
	for _, tt := range []struct {
		name          string
		before, after []string
	}{
		{"changed", []string{secret}, []string{changed}},
		{"added", nil, []string{secret}},
		{"removed", []string{secret}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := compare(t, diff.Unit{Name: "x", Before: decode(t, tt.before...), After: decode(t, tt.after...)})
			if len(r.Overlays[0].Objects) != 1 {
				t.Fatalf("objects: %v", outline(r))
			}
			text := r.Overlays[0].Objects[0].Diff
			for _, value := range []string{"c2FtZQ", "b2xk", "bmV3", "Z29uZQ", "bW9yZQ"} {
				if strings.Contains(text, value) {
					t.Errorf("a value is shown:\n%s", text)
				}
			}
			if tt.name == "changed" {
				for _, line := range []string{"   same: '***'\n", "-  other: '*** (before)'\n", "+  other: '*** (after)'\n", "-  old: '*** (before)'\n", "+  more: '***'\n"} {
					if !strings.Contains(text, line) {
						t.Errorf("the difference lacks %q:\n%s", line, text)
					}
				}
			}
		})
	}
}

// Flags are found by name, in the order of objects.
func TestFlagged(t *testing.T) {
	u := diff.Unit{Name: "x", Before: decode(t, service, deployment), After: decode(t, edit(t, deployment, "web:1", "web:2"))}
	r := compare(t, u)
	var got []string
	for _, f := range r.Flagged(diff.FlagPruned, diff.FlagImage) {
		got = append(got, f.String())
	}
	want := []string{
		"image: x: Deployment ns/web: container web: web:1 becomes web:2",
		"pruned: x: Service ns/web: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flagged (-want +got):\n%s", diff)
	}
	if len(r.Flagged()) != 2 || len(r.Flagged(diff.FlagRBAC)) != 0 {
		t.Errorf("Flagged() = %v, Flagged(rbac) = %v", r.Flagged(), r.Flagged(diff.FlagRBAC))
	}
}
