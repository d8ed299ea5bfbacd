package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/input"
)

// MaxInput is the size of the largest manifests that Load reads, in bytes.
const MaxInput = 32 << 20

// Load reads manifests of any origin: a directory with a kustomization, which it
// renders; a file of YAML or JSON with one or more documents; or "-" for in. It returns
// YAML documents.
func Load(path string, in io.Reader) ([]byte, error) {
	if path == "-" {
		return readInput("standard input", in)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("-f %s: %w: expected a file of manifests, a directory with a kustomization, or - for standard input", path, input.Reason(err))
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("-f %s: %w", path, input.Reason(err))
		}
		defer f.Close()
		return readInput(path, f)
	}
	names := konfig.RecognizedKustomizationFileNames()
	if !slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(filepath.Join(path, name))
		return err == nil
	}) {
		return nil, fmt.Errorf("-f %s: the directory has no %s: name one that has, or a file of manifests", path, strings.Join(names, ", "))
	}
	out, err := Build(filesys.MakeFsOnDisk(), path)
	if err != nil {
		return nil, fmt.Errorf("-f %s: kustomize cannot render it: %s", path, OneLine(err))
	}
	return out, nil
}

func readInput(name string, in io.Reader) ([]byte, error) {
	content, err := input.Read(in, MaxInput)
	switch {
	case errors.Is(err, input.ErrTooLarge):
		return nil, fmt.Errorf("-f: %s has more than %d MiB: give the part that has the Services and their clients", name, MaxInput>>20)
	case errors.Is(err, input.ErrEmpty):
		return nil, fmt.Errorf("-f: %s is empty: expected Kubernetes manifests", name)
	case err != nil:
		return nil, fmt.Errorf("-f: reading %s: %w", name, err)
	}
	// A text without a mapping is YAML too: say what it is instead of an object.
	for i, document := range bytes.Split(content, []byte("\n---")) {
		var value any
		if err := yaml.Unmarshal(document, &value); err != nil {
			return nil, fmt.Errorf("-f: %s is not YAML: document %d: %s", name, i+1, strings.TrimPrefix(OneLine(err), "error converting YAML to JSON: "))
		}
		if object, ok := value.(map[string]any); value != nil && (!ok || object["kind"] == nil || object["apiVersion"] == nil) {
			return nil, fmt.Errorf("-f: %s: document %d is no Kubernetes object: expected apiVersion and kind", name, i+1)
		}
	}
	return content, nil
}

// flat returns the objects, with the items of lists in place of the lists.
func flat(objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, o := range objects {
		if !o.IsList() && o.GetKind() != "List" {
			all = append(all, o)
			continue
		}
		items, ok := o.Object["items"].([]any)
		if !ok && o.Object["items"] != nil {
			return nil, fmt.Errorf("manifest: %s: items is %v, expected a list of Kubernetes objects", Describe(o), o.Object["items"])
		}
		for i, item := range items {
			object, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("manifest: %s: item %d is %v, expected a Kubernetes object", Describe(o), i+1, item)
			}
			inner, err := flat([]*unstructured.Unstructured{{Object: object}})
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
		}
	}
	return all, nil
}
