package manifest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// istio changes nothing but the namespace and the Namespace's labels.
func TestIstioEqualsL4(t *testing.T) {
	l4, istio := manifesttest.Render(t, "l4"), manifesttest.Render(t, "istio")
	service := "\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: more\n"
	for _, test := range []struct {
		name  string
		istio []byte
		want  []string
	}{
		{name: "as_it_is", istio: istio},
		{name: "another_rate", istio: manifesttest.Mutate(t, istio, "- name: RATE\n          value: \"", "- name: RATE\n          value: \"9"), want: []string{"Deployment/echo-client differs"}},
		{name: "another_name", istio: manifesttest.Mutate(t, istio, "kind: PodDisruptionBudget\nmetadata:\n", "kind: PodDisruptionBudget\nmetadata:\n  generateName: x\n"), want: []string{"PodDisruptionBudget/echo-server differs"}},
		{name: "one_more", istio: append(bytes.Clone(istio), service...), want: []string{"Service/more is added"}},
		{name: "none", want: []string{"Deployment/echo-client is missing", "Deployment/echo-server is missing", "Namespace is missing", "PodDisruptionBudget/echo-server is missing", "Service/echo-server is missing", "ServiceAccount/echo-client is missing", "ServiceAccount/echo-server is missing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := manifest.DifferencesInKind(l4, test.istio)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// Each overlay has a short README that says how to deploy it.
func TestReadmes(t *testing.T) {
	const most = 27 // a picture included
	for _, name := range manifesttest.Names(t) {
		readme, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), "overlays", name, "README.md"))
		if err != nil {
			t.Error(err)
		}
		if lines := bytes.Count(readme, []byte("\n")); lines > most {
			t.Errorf("overlays/%s/README.md has %d lines, expected at most %d", name, lines, most)
		}
		if !strings.Contains(string(readme), "kubectl apply -k overlays/"+name) {
			t.Errorf("overlays/%s/README.md does not say how to deploy it", name)
		}
	}
}
