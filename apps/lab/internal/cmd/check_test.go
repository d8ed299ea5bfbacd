package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// check accepts the checkout, and says what is wrong with one that was changed:
// the rule, the file and the remedy, in text and as JSON.
func TestCheck(t *testing.T) {
	code, stdout, stderr := call{args: []string{"check"}}.run(t)
	if code != 0 || stderr != "" || !strings.HasSuffix(stdout, "envoy-tls: 0 violations, 0 of balancing and 0 of the house\n") {
		t.Errorf("exit code %d, want 0; output:\n%s%s", code, stdout, stderr)
	}
	const note = "note: base/echo-server/deployment.yaml: Deployment/echo-server: later commits of spec.replicas are ignored by Argo CD, which sets it only when it creates the object: "
	if strings.Count(stdout, note) != 1 {
		t.Errorf("want one note for all overlays, %q; output:\n%s", note, stdout)
	}
	obeyed := copyOfManifests(t)
	edit(t, filepath.Join(obeyed, "base/echo-server/deployment.yaml"), "  replicas: 3\n", "")
	if code, stdout, _ := (call{dir: obeyed, args: []string{"check", "l4", "-o", "json"}}).run(t); code != 0 || strings.Contains(stdout, "notes") {
		t.Errorf("without replicas: exit code %d, want 0 and no note; output:\n%s", code, stdout)
	}
	code, stdout, stderr = call{args: []string{"check", "l4", "--live"}}.run(t)
	if code != 3 || !strings.Contains(stdout, "l4: 0 violations") || !strings.HasPrefix(stderr, "lab: live: not run: no cluster") {
		t.Errorf("check --live without a cluster: exit code %d, want 3; output:\n%s%s", code, stdout, stderr)
	}
	tests := []struct {
		name           string
		file, old, new string
		rename         [2]string
		want           []string // lines on stdout
	}{
		{
			name: "selector", file: "base/echo-server/service.yaml", old: "selector:\n    app.kubernetes.io/name: echo-server", new: "selector:\n    app.kubernetes.io/name: echo",
			want: []string{"base/echo-server/service.yaml: Service/echo-server: selector map[app.kubernetes.io/name:echo] matches no pod (selector)", "    in dns, dns-max-age, "},
		},
		{name: "latest", file: "overlays/linkerd/l5d/daemonset.yaml", old: "linkerd:1.7.5", new: "linkerd:latest", want: []string{"overlays/linkerd/l5d/daemonset.yaml: DaemonSet/l5d: container l5d: image ", "(image-pinned)"}},
		{name: "one_program_behind", file: release.Component, old: "/echo-client\n    newTag: ", new: "/echo-client\n    newTag: v7.", want: []string{release.Component + ": image echo-client has tag \"v7.", "(release)"}},
		{name: "rbac", file: "overlays/k8s-api/kustomization.yaml", old: "  - rolebinding.yaml\n", new: "", want: []string{"overlays/k8s-api/kustomization.yaml: workloads that may call the API: ", "(rbac)"}},
		{
			name: "renamed", rename: [2]string{"overlays/l4", "overlays/layer4"},
			want: []string{`overlays/layer4/kustomization.yaml: Namespace/grpc-lb-l4: Namespace "grpc-lb-l4", expected "grpc-lb-layer4" (namespace)`, "no Application/grpc-lb-layer4 for overlays/layer4 (argocd-applications)", "argocd/l4.yaml: Application/grpc-lb-l4: has no overlay"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := copyOfManifests(t)
			if tt.rename[0] != "" {
				if err := os.Rename(filepath.Join(dir, tt.rename[0]), filepath.Join(dir, tt.rename[1])); err != nil {
					t.Fatal(err)
				}
			} else {
				file := filepath.Join(dir, tt.file)
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(content), tt.old) {
					t.Fatalf("%s holds no %q", tt.file, tt.old)
				}
				if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(content), tt.old, tt.new)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := call{dir: dir, args: []string{"check"}}.run(t)
			if code != 1 || !strings.HasSuffix(stderr, " violations\n") {
				t.Errorf("exit code %d, want 1; stderr:\n%s", code, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout lacks %q:\n%s", want, stdout)
				}
			}
			code, asJSON, _ := call{dir: dir, args: []string{"check", "-o", "json"}}.run(t)
			var decoded struct {
				Violations []struct{ Rule, File, Text, Remedy string } `json:"violations"`
			}
			if err := json.Unmarshal([]byte(asJSON), &decoded); err != nil || code != 1 {
				t.Fatalf("exit code %d, want 1; %v:\n%s", code, err, asJSON)
			}
			for _, v := range decoded.Violations {
				if v.Rule == "" || v.File == "" || v.Text == "" || v.Remedy == "" {
					t.Errorf("a violation lacks something: %+v", v)
				}
			}
			if got, want := len(decoded.Violations), strings.Count(stdout, "\n    "); got != want {
				t.Errorf("%d violations as JSON, %d as text", got, want)
			}
		})
	}
}
