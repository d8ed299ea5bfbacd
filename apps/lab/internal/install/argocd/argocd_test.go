package argocd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// checkout is a repository with the real argocd/, base/ and overlays/ committed.
func checkout(t *testing.T) string {
	t.Helper()
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"argocd", "base", "overlays"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join(repository.Root(), dir))); err != nil {
			t.Fatal(err)
		}
	}
	git(t, root, "init", "--quiet")
	git(t, root, "add", "--all")
	git(t, root, "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--message=x")
	return root
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// released returns an image of the checkout's release.
func released(t *testing.T, program string) types.Image {
	t.Helper()
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	images, err := release.Read(repository.Root())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(images, func(i types.Image) bool { return i.Name == program })
	if i < 0 {
		t.Fatalf("%s is not released", program)
	}
	return images[i]
}

// pin makes a checkout deploy a release that has digests.
func pin(t *testing.T, root string) {
	t.Helper()
	digests := map[string]string{}
	for i, program := range []string{"echo-server", "echo-client", "echo-client-xds"} {
		digests[program] = fmt.Sprintf("sha256:%064d", i)
	}
	if _, err := release.Set(root, release.Release{Tag: "v7.0.0", Digests: digests}); err != nil {
		t.Fatal(err)
	}
}

// A checkout whose HEAD is not what lies in it is refused by its first file.
func TestCheckClean(t *testing.T) {
	root := checkout(t)
	if err := argocd.CheckClean(t.Context(), root); err != nil {
		t.Errorf("a clean checkout: %v", err)
	}
	write(t, filepath.Join(root, "new.yaml"), "x")
	if err := argocd.CheckClean(t.Context(), root); !errors.Is(err, argocd.ErrDirty) || !strings.Contains(err.Error(), "new.yaml") {
		t.Errorf("a new file: error %v, want %v and its name", err, argocd.ErrDirty)
	}
	if err := argocd.CheckClean(t.Context(), t.TempDir()); err == nil || errors.Is(err, argocd.ErrDirty) {
		t.Errorf("no repository: error %v, want git's own", err)
	}
}

// The copy differs from the checkout in the repository's URL and the images, and
// in nothing else; the checkout is not touched. Each change is noted.
func TestCopy(t *testing.T) {
	root, dir := checkout(t), t.TempDir()
	if err := os.Remove(filepath.Join(root, "overlays/l4/README.md")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "base/new.yaml"), "new")
	var notes []string
	images := map[string]string{
		released(t, "echo-server").NewName: "lab.local/echo-server:1", released(t, "echo-client").NewName: "lab.local/echo-client:2",
		released(t, "echo-client-xds").NewName: "lab.local/echo-client-xds:3",
	}
	if err := argocd.Copy(t.Context(), dir, root, images, func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }); err != nil {
		t.Fatal(err)
	}
	var differ []string
	for file := range strings.FieldsSeq(git(t, dir, "ls-files")) {
		was, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(is) != string(was) {
			differ = append(differ, file)
		}
	}
	if diff := cmp.Diff([]string{"argocd/repository.yaml", "argocd/root.yaml", release.Component}, differ); diff != "" {
		t.Errorf("files that differ (-want +got):\n%s", diff)
	}
	if got := git(t, dir, "status", "--porcelain"); got != "" {
		t.Errorf("not committed in the copy: %s", got)
	}
	if got := git(t, root, "status", "--porcelain"); got != "D overlays/l4/README.md\n?? base/new.yaml" {
		t.Errorf("the checkout's status is %q, want what it was", got)
	}
	if len(notes) != 5 {
		t.Errorf("notes %q, want one for the copy and one for each of four changes", notes)
	}
	for file, want := range map[string]string{
		"argocd/repository.yaml": "url: " + argocd.RepoURL,
		"argocd/root.yaml":       "repoURL: " + argocd.RepoURL,
		release.Component:        "newName: lab.local/echo-server\n    newTag: \"1\"\n  -",
		"base/new.yaml":          "new",
	} {
		if content, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s of the copy has no %q: %v\n%s", file, want, err, content)
		}
	}
}

// What the overlays of the copy render has the images that were asked for, without
// the digests of those that they replace; all else is as it was.
func TestCopySetsImages(t *testing.T) {
	server, client, xds := released(t, "echo-server"), released(t, "echo-client"), released(t, "echo-client-xds")
	for _, test := range []struct {
		name   string
		images map[string]string
	}{
		{name: "none"},
		{name: "all", images: map[string]string{server.NewName: "lab.local/echo-server:1", client.NewName: "lab.local/echo-client:2", xds.NewName: "lab.local/echo-client-xds:3"}},
		{name: "registry_with_a_port", images: map[string]string{server.NewName: "localhost:5000/a/b:1", client.NewName: "localhost:5000/c:2", xds.NewName: "localhost:5000/d:3"}},
		{name: "the_server_alone", images: map[string]string{server.NewName: "lab.local/echo-server:1"}},
		{name: "the_client_of_one_overlay", images: map[string]string{xds.NewName: "lab.local/echo-client-xds:3"}},
		{name: "the_client_of_the_others", images: map[string]string{client.NewName: "lab.local/echo-client:2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, dir := checkout(t), t.TempDir()
			write(t, filepath.Join(root, "go.mod"), "module github.com/grpc-lb/grpc-lb\n")
			pin(t, root)
			if err := argocd.Copy(t.Context(), dir, root, test.images, func(string, ...any) {}); err != nil {
				t.Fatal(err)
			}
			copied, err := manifest.Find(dir)
			if err != nil {
				t.Fatal(err)
			}
			original, err := manifest.Find(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"l4", "dns", "xds"} {
				got, err := copied.Render(name)
				if err != nil {
					t.Fatal(err)
				}
				expected, err := original.Render(name)
				if err != nil {
					t.Fatal(err)
				}
				for image, to := range test.images {
					expected = regexp.MustCompile(regexp.QuoteMeta(image)+`:\S+`).ReplaceAll(expected, []byte(to))
				}
				if diff := cmp.Diff(string(expected), string(got)); diff != "" {
					t.Errorf("rendering of %s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// Argo CD's namespace becomes the lab's, whatever the checkout has.
func TestCopySetsNamespace(t *testing.T) {
	root, dir := checkout(t), t.TempDir()
	edit := func(file, old, replacement string) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), old) {
			t.Fatalf("%s has no %q", file, old)
		}
		write(t, filepath.Join(root, file), strings.ReplaceAll(string(content), old, replacement))
	}
	for _, file := range []string{"argocd/kustomization.yaml", "argocd/root.yaml"} {
		edit(file, "namespace: argocd\n", "namespace: openshift-gitops\n")
	}
	if err := argocd.Copy(t.Context(), dir, root, nil, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"argocd/kustomization.yaml", "argocd/root.yaml"} {
		if content, err := os.ReadFile(filepath.Join(dir, file)); err != nil || strings.Contains(string(content), "openshift") {
			t.Errorf("%s of the copy is still of another namespace: %v\n%s", file, err, content)
		}
	}
}

// An image that is not released, and one without a tag, are
// refused by name.
func TestCopyRefusesImages(t *testing.T) {
	for _, test := range []struct{ name, image, to, want string }{
		{name: "unknown", image: "ghcr.io/x/another", to: "lab.local/another:1", want: "names no image ghcr.io/x/another"},
		{name: "known_by_its_first_name", image: "echo-server", to: "lab.local/echo-server:1", want: "names no image echo-server"},
		{name: "no_tag", image: released(t, "echo-server").NewName, to: "lab.local/echo-server", want: `"lab.local/echo-server" has no tag`},
		{name: "port_and_no_tag", image: released(t, "echo-server").NewName, to: "localhost:5000/echo-server", want: `"localhost:5000/echo-server" has no tag`},
		{name: "another_without_a_tag", image: released(t, "echo-client-xds").NewName, to: "lab.local/echo-client-xds", want: `"lab.local/echo-client-xds" has no tag`},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := argocd.Copy(t.Context(), t.TempDir(), checkout(t), map[string]string{test.image: test.to}, func(string, ...any) {})
			if err == nil || !strings.HasPrefix(err.Error(), "argocd: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s to %s: error %v, want %q", test.image, test.to, err, test.want)
			}
		})
	}
}

// What Argo CD says is read as it writes it.
func TestSays(t *testing.T) {
	const app = `{"metadata":{"name":"grpc-lb-dns"},"status":{"sync":{"status":"%s","revision":"abc"},"health":{"status":"%s"},"conditions":[%s],"operationState":{"phase":"%s","message":"%s","syncResult":{"resources":[{"kind":"DaemonSet","name":"l5d","status":"%s","message":"done"}]}},"reconciledAt":"2026-08-01T10:00:00Z"}}`
	for _, test := range []struct {
		name                   string
		args                   []any
		fine, waiting, refused string // a part, "" for none
	}{
		{name: "fine", args: []any{"Synced", "Healthy", "", "Succeeded", "", "Synced"}},
		{name: "applied_to_the_last", args: []any{"Synced", "Progressing", "", "Succeeded", "", "Synced"}, fine: "Synced and Progressing"},
		{name: "not_synced_yet", args: []any{"OutOfSync", "Progressing", "", "Succeeded", "", "Synced"}, fine: "OutOfSync and Progressing", waiting: "OutOfSync"},
		{name: "drifted", args: []any{"OutOfSync", "Healthy", "", "Succeeded", "", "Synced"}, fine: "OutOfSync and Healthy", waiting: "OutOfSync"},
		{name: "broken", args: []any{"Unknown", "Healthy", `{"type":"ComparisonError","message":"no\n such file"}`, "", "", ""}, fine: "ComparisonError: no such file", waiting: "no such file", refused: "such file"},
		{name: "waiting", args: []any{"OutOfSync", "Missing", "", "Running", "waiting for healthy state of apps/DaemonSet/l5d", "Synced"}, fine: "OutOfSync and Missing; its sync is Running"},
		{name: "failing", args: []any{"OutOfSync", "Missing", "", "Running", "waiting for healthy state of apps/DaemonSet/l5d", "SyncFailed"}, fine: "Missing", waiting: "DaemonSet l5d is SyncFailed: done"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fine, waiting, refusal, err := argocd.Says(fmt.Sprintf(app, test.args...))
			if err != nil {
				t.Fatal(err)
			}
			for what, texts := range map[string][2]string{"fine": {fine, test.fine}, "waiting": {waiting, test.waiting}} {
				if (texts[0] == "") != (texts[1] == "") || !strings.Contains(texts[0], texts[1]) {
					t.Errorf("%s: %q, want %q", what, texts[0], texts[1])
				}
			}
			if !strings.Contains(refusal, test.refused) {
				t.Errorf("refusal %q, want %q", refusal, test.refused)
			}
		})
	}
}

// install is the shape of Argo CD's own manifest: one Deployment of each name.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var all strings.Builder
	for _, name := range []string{"dex-server", "notifications-controller", "applicationset-controller", "redis", "repo-server", "server"} {
		image := "quay.io/argoproj/argocd:v3"
		if name == "redis" {
			image = "public.ecr.aws/docker/library/redis:8"
		}
		fmt.Fprintf(&all, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: argocd-%s}\nspec: {template: {spec: {containers: [{name: x, image: %q, imagePullPolicy: Always, env: [{name: A, value: b}]}]}}}\n", name, image)
	}
	write(t, filepath.Join(dir, "install.yaml"), all.String())
	return dir
}

// What is installed runs images that the nodes have, and nothing that pulls.
func TestManifests(t *testing.T) {
	a := &argocd.ArgoCD{Programs: map[string]string{component.ArgoCD.Name: install(t)}, Versions: map[string]string{component.ArgoCD.Name: "v3.2.11"}}
	objects, err := a.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range objects {
		if o.GetNamespace() != argocd.Namespace && o.GetKind() != "Namespace" {
			t.Errorf("%s %s is in namespace %q, want %s", o.GetKind(), o.GetName(), o.GetNamespace(), argocd.Namespace)
		}
		if o.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			t.Fatal(err)
		}
		for _, c := range append(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers...) {
			got[d.Name] = c.Image
			if c.ImagePullPolicy != corev1.PullNever {
				t.Errorf("%s pulls %s", d.Name, c.ImagePullPolicy)
			}
		}
	}
	want := map[string]string{
		"argocd-redis": "lab.local/redis:v3.2.11", "argocd-repo-server": "lab.local/argocd:v3.2.11",
		"argocd-server": "lab.local/argocd:v3.2.11", "git": "lab.local/argocd:v3.2.11",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images by Deployment (-want +got):\n%s", diff)
	}
}

// An Argo CD of somebody else's is neither installed over nor removed. The fake
// stands in for an API server.
func TestOthersArgoCD(t *testing.T) {
	client := &kube.Client{Typed: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: argocd.Namespace}})}
	a := &argocd.ArgoCD{Programs: map[string]string{component.ArgoCD.Name: install(t)}, Versions: map[string]string{component.ArgoCD.Name: "v3.2.11"}}
	if err := a.Install(t.Context(), client); err == nil || !strings.Contains(err.Error(), "was not made by the lab") {
		t.Errorf("installing: error %v, want a refusal", err)
	}
	if err := argocd.Clear(t.Context(), client); err != nil {
		t.Errorf("clearing: %v", err)
	}
	if _, err := client.Typed.CoreV1().Namespaces().Get(t.Context(), argocd.Namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("its namespace: %v", err)
	}
}

// A strategy that has no Application is released already; any other answer is an
// error. The handler stands in for an API server.
func TestRelease(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   int
		reason metav1.StatusReason
		want   string
	}{
		{name: "not_there", code: http.StatusNotFound, reason: metav1.StatusReasonNotFound},
		{name: "forbidden", code: http.StatusForbidden, reason: metav1.StatusReasonForbidden, want: "not this one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				version := metav1.GroupVersionForDiscovery{GroupVersion: "argoproj.io/v1alpha1", Version: "v1alpha1"}
				var answer any
				switch r.URL.Path {
				case "/api":
					answer = metav1.APIVersions{}
				case "/apis":
					answer = metav1.APIGroupList{Groups: []metav1.APIGroup{{Name: "argoproj.io", Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}}}
				case "/apis/argoproj.io/v1alpha1":
					answer = metav1.APIResourceList{GroupVersion: version.GroupVersion, APIResources: []metav1.APIResource{{Name: "applications", Namespaced: true, Kind: "Application"}}}
				case "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/grpc-lb-istio":
					asked++
					w.WriteHeader(test.code)
					answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: test.reason, Message: "not this one"}
				}
				_ = json.NewEncoder(w).Encode(answer)
			}))
			defer server.Close()
			client, err := kube.New(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			err = argocd.NewDeployer(client).Release(t.Context(), "istio")
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || asked != 1 {
				t.Errorf("after %d requests: error %v, want one request and %q", asked, err, test.want)
			}
		})
	}
}

// Numbers are given once, over the claims about strategies too.
func TestClaimsAreNumberedOnce(t *testing.T) {
	known := map[int]bool{}
	for _, s := range strategy.All() {
		for _, c := range s.Claims {
			known[c.ID] = true
		}
	}
	for _, c := range argocd.Claims {
		if known[c.ID] {
			t.Errorf("claim %d is declared twice", c.ID)
		}
		known[c.ID] = true
		if c.Text == "" || c.Change == "" || c.Limit == 0 {
			t.Errorf("claim %d lacks its text, change or limit", c.ID)
		}
	}
}

// A client's first windows are counted until all servers have answered. Calls
// that were late are neither answered nor failed.
func TestUntilAll(t *testing.T) {
	by := func(servers ...string) *calllog.Window {
		w := &calllog.Window{Servers: map[string]int64{}}
		for _, s := range servers {
			w.Servers[s] = 7
		}
		return w
	}
	late := &calllog.Window{Failures: map[string]int64{"DeadlineExceeded": 5}}
	lost := &calllog.Window{Failures: map[string]int64{"Unavailable": 2, "DeadlineExceeded": 1}}
	for _, test := range []struct {
		name    string
		windows []*calllog.Window
		want    int
		failed  int64
	}{
		{name: "none"},
		{name: "at_once", windows: []*calllog.Window{by("a", "b", "c"), lost}, want: 1},
		{name: "late_at_first", windows: []*calllog.Window{late, by("a", "b", "c")}, want: 2},
		{name: "one_later", windows: []*calllog.Window{by("a", "b"), by("a", "b", "c")}, want: 2},
		{name: "one_never", windows: []*calllog.Window{by("a", "b"), by("a", "b")}},
		{name: "too_late", windows: append(slices.Repeat([]*calllog.Window{by("a", "b")}, 15), by("c"))},
		{name: "lost", windows: []*calllog.Window{lost, by("a", "b", "c")}, want: 2, failed: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, failed := argocd.UntilAll(test.windows, 3); got != test.want || failed != test.failed {
				t.Errorf("after %d windows, %d failed; want %d, %d", got, failed, test.want, test.failed)
			}
		})
	}
}
