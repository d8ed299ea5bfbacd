package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const cartManifests = `
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{name: grpc, port: 80, targetPort: 9000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: "cart:1", readinessProbe: {grpc: {port: 9000}}, ports: [{containerPort: 9000}]}]}
---
apiVersion: example.com/v1
kind: Cart
metadata: {name: any}
spec: {field: that no program knows}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: web}
spec:
  schedule: "@daily"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: web, image: "web:1", args: [-cart, "GOAL"]}]}}}}
`

// Manifests of any origin are judged by who chooses a server, and by nothing of this
// repository's conventions.
func TestCheckFile(t *testing.T) {
	for _, tt := range []struct {
		name, goal, old, new string
		code                 int
		want                 string
	}{
		{name: "a cluster IP", goal: "cart:80", code: 1, want: "(cluster-ip)"},
		{name: "a policy that manifests do not show", goal: "dns:///cart:9000", old: "spec: {selector", new: "spec: {clusterIP: None, selector", code: 4, want: "undecided"},
		{name: "no client", goal: "basket:80", code: 4, want: "0 clients, 0 violations"},
		{name: "a misspelt kind", goal: "basket:80", old: "kind: CronJob", new: "kind: CronJobs", code: 1, want: "(strict-fields)"},
		{name: "balanced", goal: "k8s:///cart", old: `"k8s:///cart"]`, new: `"k8s:///cart", '-config={"loadBalancingConfig":[{"round_robin":{}}]}']`, code: 0, want: "balanced: the client chooses for each call"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(cartManifests, "GOAL", tt.goal, 1)
			if tt.old != "" {
				if !strings.Contains(text, tt.old) {
					t.Fatalf("the manifests have no %q", tt.old)
				}
				text = strings.Replace(text, tt.old, tt.new, 1)
			}
			file := filepath.Join(t.TempDir(), "all.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := call{args: []string{"check", "-f", file}}.run(t)
			if code != tt.code || !strings.Contains(stdout, tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", code, tt.code, tt.want, stdout, stderr)
			}
			_, stdout, _ = call{args: []string{"check", "-f", file, "-o", "json"}}.run(t)
			if !json.Valid([]byte(stdout)) {
				t.Errorf("no JSON:\n%s", stdout)
			}
		})
	}
}

// Routes are judged without a client among the manifests, which is outside of many: exit code
// 4 says that something they name may be elsewhere.
func TestCheckFileOfRoutes(t *testing.T) {
	const route = `---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: cart}
spec: {parentRefs: [{name: public, namespace: infra}], rules: [{backendRefs: [{name: NAME, port: 80}]}]}
`
	manifests := strings.Replace(cartManifests, "GOAL", "none", 1)
	for name, want := range map[string]struct {
		code int
		text string
	}{
		"cart":   {0, "GRPCRoute/cart\n    from Gateway/public to Service/cart\n"},
		"basket": {4, `undecided: no Service "basket" is among the objects`},
	} {
		file := filepath.Join(t.TempDir(), "all.yaml")
		if err := os.WriteFile(file, []byte(manifests+strings.Replace(route, "NAME", name, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := call{args: []string{"check", "-f", file}}.run(t)
		if code != want.code || !strings.Contains(stdout, want.text) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", name, code, want.code, want.text, stdout, stderr)
		}
	}
}

// The overlays of this repository are judged as their strategies show, outside of a
// checkout too, by each of the names that kustomize reads.
func TestCheckFileOfOverlays(t *testing.T) {
	dir := copyOfManifests(t)
	if err := os.Remove(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	for _, name := range overlays(t, dir) {
		want := 0
		if name == "l4" {
			want = 1 // it shows what a cluster IP does
		}
		if code, stdout, stderr := (call{dir: dir, args: []string{"check", "-f", "overlays/" + name}}).run(t); code != want {
			t.Errorf("%s: exit code %d, want %d:\n%s%s", name, code, want, stdout, stderr)
		}
	}
}

// What cannot be read is refused in one line that says what was expected.
func TestCheckFileRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, tt := range []struct{ name, file, want string }{
		{"nothing there", filepath.Join(dir, "none"), "no such file or directory"},
		{"a directory without a kustomization", dir, "kustomization.yaml, kustomization.yml, Kustomization"},
		{"empty", write("empty", "\n"), "is empty"},
		{"no YAML", write("prose", "a: b: c\n"), "is not YAML"},
		{"no object", write("values.yaml", "replicas: 3\n"), "expected apiVersion and kind"},
		{"a list of what are no objects", write("list.yaml", "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: [5]}]}\n"), "item 1 is 5, expected a Kubernetes object"},
		{"no name", "", "-f is empty: expected a file"},
		{"too large", write("large", strings.Repeat("# a comment of no use\n", 33<<20/22)), "more than 32 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call{args: []string{"check", "-f", tt.file}}.wantFailure(t, 2, tt.want)
		})
	}
	call{args: []string{"check", "dns", "-f", "-"}}.wantFailure(t, 2, "give one of the two")
}

// Several files are judged together: the client and its server can be in two of them.
func TestCheckFiles(t *testing.T) {
	manifests := strings.Replace(cartManifests, "GOAL", "cart:80", 1)
	at := strings.LastIndex(manifests, "---\n")
	var args []string
	for name, content := range map[string]string{"server.yaml": manifests[:at], "client.yaml": manifests[at:]} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", file)
	}
	if code, stdout, stderr := (call{args: append([]string{"check"}, args...)}).run(t); code != 1 || !strings.Contains(stdout, "(cluster-ip)") {
		t.Errorf("exit code %d, want 1 for the cluster IP:\n%s%s", code, stdout, stderr)
	}
}
