package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

const (
	fieldsFile = "argocd_fields.yaml"
	fieldsHead = "# What `spec` may hold in Argo CD %s, later than the one that the lab runs so that no field is unknown which only a newer one has.\n# Written by: go test ./apps/lab/internal/manifest -run ArgoCDFields -update\n"
)

// The shapes by which `check` tells a misspelt field are those of the definitions
// that Argo CD ships, in the version that the file names. That version is
// downloaded as any module; without it there is nothing to compare with.
func TestArgoCDFields(t *testing.T) {
	have, err := os.ReadFile(fieldsFile)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`Argo CD (v\S+),`).FindSubmatch(have)
	if match == nil {
		t.Fatalf("%s names no version", fieldsFile)
	}
	version := string(match[1])
	fields, err := yaml.Marshal(shapes(t, version))
	if err != nil {
		t.Fatal(err)
	}
	want := append(fmt.Appendf(nil, fieldsHead, version), fields...)
	if *update {
		if err := os.WriteFile(fieldsFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, have) {
		t.Errorf("%s is not what Argo CD %s has (-want +got):\n%s", fieldsFile, version, cmp.Diff(string(want), string(have)))
	}
}

// Whatever the Argo CD that the lab runs has is known.
func TestArgoCDFieldsOfTheLab(t *testing.T) {
	version, err := component.ArgoCD.Version(manifesttest.Checkout(t).Root())
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(fieldsFile)
	if err != nil {
		t.Fatal(err)
	}
	var known any
	if err := yaml.Unmarshal(content, &known); err != nil {
		t.Fatal(err)
	}
	if missing := lacks(known, shapes(t, version), ""); missing != nil {
		t.Errorf("Argo CD %s has fields that %s lacks: %v", version, fieldsFile, missing)
	}
}

// lacks names what other has and shape has not, or has of another type.
func lacks(shape, other any, at string) []string {
	switch other := other.(type) {
	case map[string]any:
		fields, _ := shape.(map[string]any)
		var all []string
		for name, below := range other {
			all = append(all, lacks(fields[name], below, at+"."+name)...)
		}
		return all
	case []any:
		if list, ok := shape.([]any); ok {
			return lacks(list[0], other[0], at+"[]")
		}
	default:
		if shape == other {
			return nil
		}
	}
	return []string{at}
}

// shapes reads the definitions in Argo CD's module.
func shapes(t *testing.T, version string) map[string]any {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", component.ArgoCD.Module+"@"+version)
	download.Dir = t.TempDir() // so that it is no matter of the checkout's go.mod
	out, err := download.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); module.Dir == "" {
		t.Skipf("not run: Argo CD %s cannot be had: %v: %s %v", version, err, module.Error, jsonErr)
	}
	all := map[string]any{}
	for kind, file := range map[string]string{"Application": "application-crd.yaml", "AppProject": "appproject-crd.yaml"} {
		content, err := os.ReadFile(filepath.Join(module.Dir, "manifests/crds", file))
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Versions []struct {
					Schema struct{ OpenAPIV3Schema schema }
				}
			}
		}
		if err := yaml.Unmarshal(content, &definition); err != nil {
			t.Fatal(err)
		}
		all[kind] = definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].shape()
	}
	return all
}

// schema is the part of a definition's schema that tells which fields there are.
type schema struct {
	Type                 string
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema
	IntOrString          bool `json:"x-kubernetes-int-or-string"`
}

func (s schema) shape() any {
	switch {
	case s.Properties != nil:
		fields := map[string]any{}
		for name, below := range s.Properties {
			fields[name] = below.shape()
		}
		return fields
	case s.Items != nil:
		return []any{s.Items.shape()}
	case s.AdditionalProperties != nil:
		return map[string]any{"*": s.AdditionalProperties.shape()}
	case s.IntOrString || s.Type == "object" || s.Type == "":
		return "any"
	}
	return s.Type
}
