package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// podsOf returns the pod specs of an overlay's workloads by their names.
func podsOf(objects []manifest.Object) map[string]corev1.PodSpec {
	pods := map[string]corev1.PodSpec{}
	for _, o := range objects {
		switch typed := o.(type) {
		case *appsv1.Deployment:
			pods[typed.Name] = typed.Spec.Template.Spec
		case *appsv1.DaemonSet:
			pods[typed.Name] = typed.Spec.Template.Spec
		}
	}
	return pods
}

// The lab's page names the component as it is added. With it no pod of any overlay asks for a user or a group
// of its own, each still refuses to be root, nothing else changes, and every rule
// accepts it.
func TestOpenShift(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), "apps/lab/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := "      components:\n        - ../../base/components/openshift\n"; !strings.Contains(string(readme), lines) {
		t.Errorf("apps/lab/README.md does not say\n%s", lines)
	}
	for _, overlayName := range manifesttest.Names(t) {
		t.Run(overlayName, func(t *testing.T) {
			repository := manifesttest.Clone(t, manifesttest.ByHand(t, manifest.Variant{Overlay: overlayName, Components: []string{"base/components/openshift"}}))
			violations, err := check.Checkout(repository, overlayName)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range violations {
				t.Error(v)
			}
			rendered, err := repository.Render(overlayName)
			if err != nil {
				t.Fatal(err)
			}
			pods := podsOf(manifesttest.Decode(t, rendered))
			if len(pods) < 2 {
				t.Errorf("%d workloads, want servers and clients at least", len(pods))
			}
			for name, pod := range pods {
				security := []corev1.PodSecurityContext{*pod.SecurityContext}
				for _, c := range append(pod.InitContainers, pod.Containers...) {
					if c.SecurityContext != nil {
						security = append(security, corev1.PodSecurityContext{RunAsUser: c.SecurityContext.RunAsUser, RunAsGroup: c.SecurityContext.RunAsGroup})
					}
				}
				for _, s := range security {
					if s.RunAsUser != nil || s.RunAsGroup != nil {
						t.Errorf("%s runs as user %v and group %v, want none set", name, s.RunAsUser, s.RunAsGroup)
					}
				}
				if security[0].RunAsNonRoot == nil || !*security[0].RunAsNonRoot {
					t.Errorf("%s may run as root", name)
				}
			}
			plain := string(manifesttest.Render(t, overlayName))
			for _, line := range []string{"        runAsUser: 65532\n", "        runAsGroup: 65532\n"} {
				if !strings.Contains(plain, line) {
					t.Errorf("without the component there is no %q", line)
				}
				plain = strings.ReplaceAll(plain, line, "")
			}
			if string(rendered) != plain {
				t.Errorf("more than user and group changed:\n%s", rendered)
			}
		})
	}
}

// What an overlay needs on a cluster without IPv4 or of another domain is accepted.
func TestCheckAcceptsOtherClusters(t *testing.T) {
	const (
		envoyFile   = "overlays/envoy/envoy/envoy.yaml"
		xdsFile     = "overlays/xds/echo-client.patch.yaml"
		linkerdFile = "overlays/linkerd/l5d/config.yaml"
	)
	for _, test := range []struct {
		name, overlay, file string
		replace             []string // old, new
	}{
		{name: "envoy_ipv6_only", overlay: "envoy", file: envoyFile, replace: []string{", ipv4_compat: true", ""}},
		{name: "envoy_ipv4_only", overlay: "envoy", file: envoyFile, replace: []string{`"::", ipv4_compat: true`, "0.0.0.0"}},
		{name: "envoy_admin_ipv6", overlay: "envoy", file: envoyFile, replace: []string{"127.0.0.1", `"::1"`}},
		{name: "envoy_whole_name", overlay: "envoy", file: envoyFile, replace: []string{"address: echo-server,", "address: echo-server.grpc-lb-envoy.svc.corp.example,"}},
		{name: "envoy_whole_name_with_a_last_dot", overlay: "envoy", file: envoyFile, replace: []string{"address: echo-server,", "address: echo-server.grpc-lb-envoy.svc.cluster.local.,"}},
		{name: "linkerd_ipv6", overlay: "linkerd", file: linkerdFile, replace: []string{"ip: 0.0.0.0", `ip: "::"`}},
		{name: "linkerd_ipv4_without_brackets", overlay: "linkerd", file: "overlays/linkerd/echo-client.patch.yaml", replace: []string{"[$(HOST_IP)]", "$(HOST_IP)"}},
		{name: "xds_with_namespace", overlay: "xds", file: xdsFile, replace: []string{"///echo-server:", "///echo-server.grpc-lb-xds:"}},
		{name: "xds_with_svc", overlay: "xds", file: xdsFile, replace: []string{"///echo-server:", "///echo-server.grpc-lb-xds.svc:"}},
		{name: "xds_whole_name", overlay: "xds", file: xdsFile, replace: []string{"///echo-server:", "///echo-server.grpc-lb-xds.svc.cluster.local:"}},
		{name: "xds_another_domain", overlay: "xds", file: xdsFile, replace: []string{"///echo-server:", "///echo-server.grpc-lb-xds.svc.corp.example:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), test.file))
			if err != nil {
				t.Fatal(err)
			}
			repository := manifesttest.Clone(t, map[string]string{test.file: string(manifesttest.Mutate(t, content, test.replace[0], test.replace[1]))})
			violations, err := check.Checkout(repository, test.overlay)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range violations {
				t.Error(v)
			}
			follows, err := strategy.Followed(repository, test.overlay)
			if err != nil || follows.Name != test.overlay {
				t.Errorf("it follows %q, error %v, want %s", follows.Name, err, test.overlay)
			}
		})
	}
}

// Every image names its registry: a node of CRI-O refuses a short name, which may
// mean an image of any registry.
func TestImagesNameTheirRegistry(t *testing.T) {
	for _, overlayName := range manifesttest.All(t) {
		images, err := manifest.Images(manifesttest.Render(t, overlayName))
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range images {
			host, _, _ := strings.Cut(reference, "/")
			if _, err := name.ParseReference(reference, name.StrictValidation); err != nil || !strings.Contains(host, ".") {
				t.Errorf("%s: image %q (%v): want its registry's host before it, such as docker.io/", overlayName, reference, err)
			}
		}
	}
}

// A pod that is not ready does not keep a node from being drained.
func TestDisruptionBudgets(t *testing.T) {
	for _, overlayName := range manifesttest.All(t) {
		found := 0
		for _, o := range manifesttest.Decode(t, manifesttest.Render(t, overlayName)) {
			budget, ok := o.(*policyv1.PodDisruptionBudget)
			if !ok {
				continue
			}
			found++
			if policy := budget.Spec.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
				t.Errorf("%s: PodDisruptionBudget/%s has no unhealthyPodEvictionPolicy: AlwaysAllow", overlayName, budget.Name)
			}
		}
		if found == 0 {
			t.Errorf("%s has no PodDisruptionBudget", overlayName)
		}
	}
}

// The proxy of a node runs only on nodes that its image is for.
func TestNodeProxyArchitecture(t *testing.T) {
	pod, ok := podsOf(manifesttest.Decode(t, manifesttest.Render(t, "linkerd")))["l5d"]
	if !ok || pod.NodeSelector[corev1.LabelArchStable] != "amd64" {
		t.Errorf("l5d (%v) is put on nodes %v, want those of amd64 alone", ok, pod.NodeSelector)
	}
}

// Digests that an overlay adds to the images of others, as README tells who must
// have them, are accepted, and every image of others has one then.
func TestCheckAcceptsDigests(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for overlayName, others := range map[string][]string{
		"envoy":   {"docker.io/envoyproxy/envoy"},
		"linkerd": {"docker.io/buoyantio/linkerd", "registry.k8s.io/kubectl"},
	} {
		file := "overlays/" + overlayName + "/kustomization.yaml"
		content, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), file))
		if err != nil {
			t.Fatal(err)
		}
		changed := string(content) + "images:\n"
		for _, other := range others {
			changed += "  - name: " + other + "\n    digest: " + strings.TrimPrefix(digest, "@") + "\n"
		}
		repository := manifesttest.Clone(t, map[string]string{file: changed})
		violations, err := check.Checkout(repository, overlayName)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range violations {
			t.Error(v)
		}
		rendered, err := repository.Render(overlayName)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range others {
			if !strings.Contains(string(rendered), "image: "+other+digest+"\n") {
				t.Errorf("%s: %s has no digest:\n%s", overlayName, other, rendered)
			}
		}
	}
}
