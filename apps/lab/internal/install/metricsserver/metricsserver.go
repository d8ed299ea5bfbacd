// Package metricsserver puts Kubernetes' metrics-server onto a cluster of the lab,
// offline and from its own manifests. It serves metrics.k8s.io, which an HPA reads.
package metricsserver

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

const (
	// API is what it serves.
	API = "metrics.k8s.io/v1beta1"

	namespace  = "kube-system"
	deployment = "metrics-server"
	newName    = "lab.local/metrics-server"
	user       = "1000:1000" // that of its manifests

	readyTime = 3 * time.Minute
)

//go:embed kustomization.yaml
var kustomization []byte

// manifests are files of the component.
var manifests = []string{"apiservice.yaml", "deployment.yaml", "rbac.yaml", "service.yaml"}

// MetricsServer is one build of metrics-server.
type MetricsServer struct {
	// Dir holds the component's program and manifests; Arch is what it was built for.
	Dir, Version, Arch string
}

// Archive packs its image.
func (m *MetricsServer) Archive(_ context.Context, cache string) (string, error) {
	program := "/usr/local/bin/metrics-server"
	return image.Cached(cache, "metrics-server", image.Image{
		Ref: newName + ":" + m.Version, User: user, Entrypoint: []string{program},
		Files: map[string]string{program: filepath.Join(m.Dir, component.MetricsServer.Name)},
		Dirs:  []string{"/tmp"}, Arch: m.Arch,
	})
}

func (*MetricsServer) String() string { return "metrics-server" }

// Describe says what Install installs.
func (m *MetricsServer) Describe() (string, error) { return "metrics-server " + m.Version, nil }

// Installed tells whether the cluster serves metrics.k8s.io, whoever does so.
func (*MetricsServer) Installed(_ context.Context, k *kube.Client) (bool, error) { return Served(k) }

// Served tells whether the cluster serves metrics.k8s.io.
func Served(k *kube.Client) (bool, error) { return k.Serves(API) }

// Install applies metrics-server and returns when the API server serves what it
// measured. The nodes must have the image.
func (m *MetricsServer) Install(ctx context.Context, k *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready in %s", readyTime))
	defer cancel()
	objects, err := m.render()
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, objects...); err != nil {
		return fmt.Errorf("metrics-server: %w", err)
	}
	if err := k.Available(ctx, namespace, deployment); err != nil {
		return fmt.Errorf("metrics-server: %w", err)
	}
	if err := k.AwaitServed(ctx, API); err != nil {
		return fmt.Errorf("metrics-server: %w", err)
	}
	return nil
}

// Remove deletes all that Install applied.
func (m *MetricsServer) Remove(ctx context.Context, k *kube.Client) error {
	objects, err := m.render()
	if err != nil {
		return err
	}
	return k.Delete(ctx, objects...)
}

// render builds metrics-server's own manifests with the lab's kustomization.
func (m *MetricsServer) render() ([]*unstructured.Unstructured, error) {
	line := "newName: " + newName + "\n"
	content := map[string][]byte{
		"kustomization.yaml": bytes.Replace(kustomization, []byte(line), []byte(line+"    newTag: "+m.Version+"\n"), 1),
	}
	var err error
	for _, name := range manifests {
		if content[name], err = os.ReadFile(filepath.Join(m.Dir, name)); err != nil {
			return nil, fmt.Errorf("metrics-server: %w", err)
		}
	}
	objects, err := manifest.BuildFiles(content)
	if err != nil {
		return nil, fmt.Errorf("metrics-server: rendering its manifests: %w", err)
	}
	return objects, nil
}
