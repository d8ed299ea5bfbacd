// Package istio puts Istio onto a cluster of the lab, offline: istiod from
// Istio's own chart, and as its proxy the upstream Envoy, with the switches that
// need no filter of Istio's own build.
package istio

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const (
	// Namespace is where istiod runs.
	Namespace = "istio-system"
	// Deployment is istiod's name.
	Deployment = "istiod"

	injector   = "istio-sidecar-injector"
	repository = "lab.local"
	// istiod's chart wants a user that is no root.
	istioUser = "1337:1337"

	readyTime = 3 * time.Minute
)

//go:embed istio.yaml
var options []byte

// Needs are the programs that building takes from the machine, and the Debian
// packages that have them.
var Needs = map[string]string{"pip3": "python3-pip", "nft": "nftables", "ldd": "libc-bin"}

// Istio is one build of Istio and Envoy.
type Istio struct {
	// Programs and Versions hold, by the names of [component.Mesh], the
	// directories of the components and their versions.
	Programs, Versions map[string]string
}

func (i *Istio) program(c component.Component, name string) string {
	return filepath.Join(i.Programs[c.Name], name)
}

// Archive packs istiod's and the proxy's images.
func (i *Istio) Archive(ctx context.Context, cache string) (string, error) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		return "", fmt.Errorf("istio: %w: install Debian's nftables", err)
	}
	proxy, err := image.WithLibraries(ctx, map[string]string{
		"/usr/local/bin/pilot-agent":                     i.program(component.Istio, "pilot-agent"),
		"/usr/local/bin/envoy":                           i.program(component.Envoy, "envoy"),
		"/usr/local/bin/nft":                             nft,
		"/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": i.program(component.Istio, "envoy_bootstrap.json"),
	})
	if err != nil {
		return "", err
	}
	return image.Cached(cache, "istio",
		image.Image{
			Ref: i.ref("pilot"), User: istioUser, Entrypoint: []string{"/usr/local/bin/pilot-discovery"},
			Files: map[string]string{"/usr/local/bin/pilot-discovery": i.program(component.Istio, "pilot-discovery")},
		},
		image.Image{
			Ref: i.ref("proxyv2"), Entrypoint: []string{"/usr/local/bin/pilot-agent"},
			Files: proxy, Dirs: []string{"/tmp"},
		},
	)
}

func (i *Istio) ref(name string) string {
	return repository + "/" + name + ":" + i.Versions[component.Istio.Name]
}

// Describe says which Envoy runs and what was switched off for it.
func (i *Istio) Describe() (string, error) {
	var o struct {
		Spec struct {
			Values struct {
				Pilot struct{ Env map[string]string }
			}
		}
	}
	if err := yaml.Unmarshal(options, &o); err != nil {
		return "", fmt.Errorf("istio: istio.yaml: %w", err)
	}
	var switches []string
	for name, value := range o.Spec.Values.Pilot.Env {
		switches = append(switches, name+"="+value)
	}
	slices.Sort(switches)
	return fmt.Sprintf("Istio %s with the upstream Envoy %s in place of Istio's build of it, so telemetry is off and istiod runs with %s",
		i.Versions[component.Istio.Name], i.Versions[component.Envoy.Name], strings.Join(switches, ", ")), nil
}

func (*Istio) String() string { return "Istio" }

// Installed tells whether the cluster injects sidecars.
func (*Istio) Installed(ctx context.Context, k *kube.Client) (bool, error) {
	_, err := k.Typed.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, injector, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("istio: looking for the injector: %w", err)
	}
	return err == nil, nil
}

// Install applies Istio and returns when it injects. The nodes must have the
// images.
func (i *Istio) Install(ctx context.Context, k *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("istiod was not ready in %s", readyTime))
	defer cancel()
	objects, err := i.manifests(ctx)
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, objects...); err != nil {
		return fmt.Errorf("istio: %w", err)
	}
	if err := k.Available(ctx, Namespace, Deployment); err != nil {
		return fmt.Errorf("istio: %w", err)
	}
	return injects(ctx, k)
}

// injects waits until istiod has signed the webhook: before that the API server
// refuses every pod that would be injected.
func injects(ctx context.Context, k *kube.Client) error {
	err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		webhook, err := k.Typed.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, injector, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		signed := len(webhook.Webhooks) > 0
		for _, w := range webhook.Webhooks {
			signed = signed && len(w.ClientConfig.CABundle) > 0
		}
		if !signed {
			return "it has no certificate", nil
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("istio: the injector: %w", err)
	}
	return nil
}

// Remove deletes all that Install applied.
func (i *Istio) Remove(ctx context.Context, k *kube.Client) error {
	objects, err := i.manifests(ctx)
	if err != nil {
		return err
	}
	return k.Delete(ctx, objects...)
}

// manifests renders Istio's chart, which istioctl carries.
func (i *Istio) manifests(ctx context.Context) ([]*unstructured.Unstructured, error) {
	istioctl := exec.CommandContext(ctx, i.program(component.Istioctl, "istioctl"), "manifest", "generate", "--filename=/dev/stdin",
		"--set=hub="+repository, "--set=tag="+i.Versions[component.Istio.Name])
	istioctl.Stdin = bytes.NewReader(options)
	var said bytes.Buffer
	istioctl.Stderr = &said
	rendered, err := istioctl.Output()
	if err != nil {
		return nil, fmt.Errorf("istio: istioctl manifest generate: %w: %s", err, strings.TrimSpace(said.String()))
	}
	objects, err := manifest.Unstructured(rendered)
	if err != nil {
		return nil, fmt.Errorf("istio: what istioctl rendered: %w", err)
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": Namespace},
	}}
	return append([]*unstructured.Unstructured{namespace}, objects...), nil
}
