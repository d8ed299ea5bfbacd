// Package kuberouter puts the NetworkPolicy controller of kube-router onto a cluster of the
// lab: nothing else of kube-router, which neither routes nor proxies there.
package kuberouter

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const (
	namespace = "kube-system"
	daemonSet = "kube-router"
	newName   = "lab.local/kube-router"

	readyTime = 2 * time.Minute
)

//go:embed kube-router.yaml
var manifests string

// Needs are the programs that packing takes from the machine, and the Debian packages that
// have them.
var Needs = map[string]string{iptables: "iptables", ipset: "ipset", "ldd": "libc-bin"}

// kube-router calls iptables and ipset. iptables' rules become nftables', because this kind
// of iptables needs no table of the older kernel interface.
const (
	iptables = "xtables-nft-multi"
	ipset    = "ipset"
)

// KubeRouter is one build of kube-router.
type KubeRouter struct {
	// Program is its file on this machine.
	Program, Version string
}

// Archive packs its image with the programs that it calls.
func (r *KubeRouter) Archive(ctx context.Context, cache string) (string, error) {
	const dir = "/usr/bin/" // which is in an image's PATH
	files := map[string]string{"/usr/local/bin/kube-router": r.Program}
	links := map[string]string{}
	for _, program := range []string{iptables, ipset} {
		path, err := exec.LookPath(program)
		if err != nil {
			return "", fmt.Errorf("kube-router: %w: install Debian's %s", err, Needs[program])
		}
		files[dir+program] = path
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore"} {
		links[dir+name] = iptables
	}
	extensions, err := extensions()
	if err != nil {
		return "", err
	}
	for _, file := range extensions {
		files[file] = file
	}
	if files, err = image.WithLibraries(ctx, files); err != nil {
		return "", err
	}
	return image.Cached(cache, "kube-router", image.Image{
		Ref: newName + ":" + r.Version, Entrypoint: []string{"/usr/local/bin/kube-router"}, Files: files, Links: links,
	})
}

// extensions returns the libraries that iptables loads when a rule needs them, which ldd
// does not know.
func extensions() ([]string, error) {
	const pattern = "/usr/lib/*/xtables/lib*.so"
	files, err := filepath.Glob(pattern)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("kube-router: iptables has no extensions at %s: install Debian's iptables", pattern)
	}
	return files, err
}

func (*KubeRouter) String() string { return "kube-router" }

// Describe says what Install installs.
func (r *KubeRouter) Describe() (string, error) {
	return "the NetworkPolicy controller of kube-router " + r.Version, nil
}

// Installed tells whether the cluster has a kube-router.
func (*KubeRouter) Installed(ctx context.Context, k *kube.Client) (bool, error) {
	_, err := k.Typed.AppsV1().DaemonSets(namespace).Get(ctx, daemonSet, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("kube-router: looking for its DaemonSet: %w", err)
	}
	return err == nil, nil
}

// Install applies kube-router and returns when it runs on every node. Its rules are in force
// a little later. The nodes must have the image.
func (r *KubeRouter) Install(ctx context.Context, k *kube.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready in %s", readyTime))
	defer cancel()
	objects, err := r.render()
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, objects...); err != nil {
		return fmt.Errorf("kube-router: %w", err)
	}
	err = poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		d, err := k.Typed.AppsV1().DaemonSets(namespace).Get(ctx, daemonSet, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return missing(d), nil
	})
	if err != nil {
		return fmt.Errorf("kube-router: %w", err)
	}
	return nil
}

// missing says on how many nodes it does not stay, or is "".
func missing(d *appsv1.DaemonSet) string {
	s := d.Status
	if s.ObservedGeneration == d.Generation && s.DesiredNumberScheduled > 0 && s.NumberAvailable == s.DesiredNumberScheduled {
		return ""
	}
	return fmt.Sprintf("it runs on %d of %d nodes", s.NumberAvailable, s.DesiredNumberScheduled)
}

// Remove deletes all that Install applied. Each pod removes its rules when it ends.
func (r *KubeRouter) Remove(ctx context.Context, k *kube.Client) error {
	objects, err := r.render()
	if err != nil {
		return err
	}
	return errors.Join(k.Delete(ctx, objects...), ended(ctx, k))
}

// ended returns when no pod is left: one that ends still removes rules.
func ended(ctx context.Context, k *kube.Client) error {
	return poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		pods, err := k.Typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=" + daemonSet})
		if err != nil || len(pods.Items) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d pods of kube-router still end", len(pods.Items)), nil
	})
}

func (r *KubeRouter) render() ([]*unstructured.Unstructured, error) {
	var out bytes.Buffer
	if err := template.Must(template.New("").Parse(manifests)).Execute(&out, struct{ Image string }{newName + ":" + r.Version}); err != nil {
		return nil, fmt.Errorf("kube-router: %w", err)
	}
	objects, err := manifest.Unstructured(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("kube-router: its manifests: %w", err)
	}
	return objects, nil
}
