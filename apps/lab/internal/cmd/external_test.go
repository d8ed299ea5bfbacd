package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/vishvananda/netns"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// e2e is the overlays that the tests on a whole cluster run.
const e2e = "l4,k8s-api"

// foreign is the built-in cluster in the part of somebody else's: a kubeconfig
// with contexts of users, and a registry.
type foreign struct {
	client   kubernetes.Interface
	config   *rest.Config
	registry string       // HOST/PATH for hosts and nodes alike
	pulls    atomic.Int64 // requests that came from the nodes
	cache    string
}

// TestExistingCluster runs the lab by --context on the built-in cluster, as a user
// with no rights but those that --print-rbac prints, with images from a registry
// of its own, and finds nothing left afterwards. What is wrong beforehand is
// refused in one line each, and nothing is done.
func TestExistingCluster(t *testing.T) {
	if os.Getenv("LAB_E2E") == "" || os.Geteuid() != 0 {
		t.Skip("needs LAB_E2E=1 and root: it boots the built-in cluster")
	}
	f := newForeign(t, e2e)
	args := func(context string, more ...string) call {
		return call{cache: f.cache, args: append([]string{"run", "--context", context, "--registry", f.registry, "--only", e2e}, more...)}
	}

	t.Run("inspect", func(t *testing.T) { checkInspect(t, f) })
	t.Run("inspect of many", func(t *testing.T) { checkInspectOfMany(t, f) })
	t.Run("faults", func(t *testing.T) { checkFaults(t, f) })
	t.Run("immutable fields", func(t *testing.T) { checkImmutable(t, f.config) })
	t.Run("without rights", func(t *testing.T) {
		args("nobody", "--yes").wantFailure(t, 3, "create, delete, get, patch namespaces grpc-lb-k8s-api, grpc-lb-l4",
			"create, patch deployments.apps in namespaces grpc-lb-k8s-api, grpc-lb-l4", "list, watch endpointslices.discovery.k8s.io", "--print-rbac")
	})
	t.Run("without a terminal", func(t *testing.T) {
		args("granted").wantFailure(t, 2, "grpc-lb-l4", "--yes")
	})
	t.Run("a namespace of others", func(t *testing.T) {
		other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "grpc-lb-l4"}}
		if _, err := f.client.CoreV1().Namespaces().Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		args("granted", "--yes").wantFailure(t, 3, "lab did not make: grpc-lb-l4", "--only")
		if err := f.client.CoreV1().Namespaces().Delete(t.Context(), other.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.waitGone(t, other.Name)
	})
	t.Run("a registry without the images", func(t *testing.T) {
		code, _, stderr := args("granted", "--yes").run(t)
		if last := lastLine(stderr); code != 3 || !strings.Contains(last, "echo-server:") || !strings.Contains(last, "--push") {
			t.Errorf("exit code %d, want 3 and --push; stderr ends with\n%s", code, last)
		}
	})
	t.Run("a run", func(t *testing.T) {
		code, stdout, stderr := args("granted", "--yes", "--push", "-o", "json").run(t)
		if code != 0 {
			t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
		}
		var result report.Result
		if err := json.Unmarshal([]byte(stdout), &result); err != nil {
			t.Fatalf("%v in %.500s", err, stdout)
		}
		beyond := []string{}
		for _, c := range result.Claims {
			if c.OutOfReach {
				beyond = append(beyond, fmt.Sprintf("%d %s: %s", c.ID, c.Strategy, c.Reason))
			} else if c.Status != report.Proven {
				t.Errorf("claim %d of %s is %s: %s%s", c.ID, c.Strategy, c.Status, c.Measured, c.Reason)
			}
		}
		if diff := cmp.Diff([]string{"8 k8s-api: the audit log of this cluster is out of reach"}, beyond); diff != "" {
			t.Errorf("claims out of reach (-want +got):\n%s", diff)
		}
		if result.Cluster != "external" || f.pulls.Load() == 0 {
			t.Errorf("cluster %q, %d requests of nodes to the registry: want existing, and some", result.Cluster, f.pulls.Load())
		}
		for name := range strings.SplitSeq(e2e, ",") {
			if _, err := f.client.CoreV1().Namespaces().Get(t.Context(), "grpc-lb-"+name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("namespace grpc-lb-%s is left: %v", name, err)
			}
		}
	})
	t.Run("watch", func(t *testing.T) { checkWatch(t, f) })
	t.Run("terminal", func(t *testing.T) { checkTerminal(t, f) })
	t.Run("no free nodes", func(t *testing.T) {
		f.cordon(t, true)
		defer f.cordon(t, false)
		code, stdout, _ := call{cache: f.cache, args: []string{"run", "--context", "granted", "--registry", f.registry, "--only", "l4", "--yes"}}.run(t)
		if code != 1 || !strings.Contains(stdout, "not scheduled: ") {
			t.Errorf("exit code %d, want 1 and why no pod is scheduled; stdout:\n%s", code, stdout)
		}
	})
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func newForeign(t *testing.T, overlays string) *foreign {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	f := &foreign{cache: cache}
	lab := func(args ...string) string {
		code, stdout, stderr := call{cache: cache, args: args}.run(t)
		if code != 0 {
			t.Fatalf("lab %s: exit code %d:\n%s", strings.Join(args, " "), code, stderr)
		}
		return stdout
	}
	if code, _, _ := (call{cache: cache, args: []string{"status"}}).run(t); code != 0 {
		t.Cleanup(func() {
			if code, _, stderr := (call{cache: cache, args: []string{"down"}, outlives: true}).run(t); code != 0 {
				t.Errorf("lab down: exit code %d:\n%s", code, stderr)
			}
		})
		lab("up", "--cluster", "builtin")
	}
	var up struct {
		Kubeconfig string
		Nodes      []struct{ Pid int }
	}
	if err := json.Unmarshal([]byte(lab("status", "-o", "json")), &up); err != nil {
		t.Fatal(err)
	}
	admin, err := clientcmd.LoadFromFile(up.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", up.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	f.config = config
	if f.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, n := range up.Nodes {
		pids = append(pids, n.Pid)
	}
	f.serveRegistry(t, pids)

	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal([]byte(lab("run", "--print-rbac", "--only", overlays)), &role); err != nil {
		t.Fatal(err)
	}
	users := api.NewConfig()
	for _, c := range admin.Clusters {
		users.Clusters["built-in"] = c
	}
	for _, name := range []string{"granted", "nobody"} {
		users.AuthInfos[name] = &api.AuthInfo{Token: f.account(t, name)}
		users.Contexts[name] = &api.Context{Cluster: "built-in", AuthInfo: name}
	}
	f.grant(t, &role, "granted")
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*users, kubeconfig); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return f
}

// serveRegistry serves one registry on the same port of the loopback of this
// machine and of every node: the nodes have no uplink, and containerd takes plain
// HTTP from there only.
func (f *foreign) serveRegistry(t *testing.T, pids []int) {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	here, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.registry = here.Addr().String() + "/lab"
	serve := func(on net.Listener, h http.Handler) {
		server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = server.Serve(on) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	serve(here, handler)
	for _, pid := range pids {
		serve(listenIn(t, pid, here.Addr().String()), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.pulls.Add(1)
			handler.ServeHTTP(w, r)
		}))
	}
}

// listenIn listens in the network namespace of a process.
func listenIn(t *testing.T, pid int, address string) (on net.Listener) {
	t.Helper()
	inNetworkOf(t, pid, func() (err error) {
		on, err = net.Listen("tcp4", address)
		return err
	})
	return on
}

// inNetworkOf runs do in the network namespace of a process.
func inNetworkOf(t *testing.T, pid int, do func() error) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	other, err := netns.GetFromPid(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := netns.Set(other); err != nil {
		t.Fatal(err)
	}
	done := do()
	if err := netns.Set(own); err != nil {
		t.Fatal(err)
	}
	if done != nil {
		t.Fatal(done)
	}
}

// account makes a service account and returns its token.
func (f *foreign) account(t *testing.T, name string) string {
	t.Helper()
	accounts := f.client.CoreV1().ServiceAccounts("default")
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func (f *foreign) grant(t *testing.T, role *rbacv1.ClusterRole, account string) {
	t.Helper()
	_ = f.client.RbacV1().ClusterRoles().Delete(t.Context(), role.Name, metav1.DeleteOptions{})
	if _, err := f.client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: account}},
	}
	if _, err := f.client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (f *foreign) waitGone(t *testing.T, namespace string) {
	t.Helper()
	watch, err := f.client.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	for e := range watch.ResultChan() {
		if e.Type == "DELETED" {
			return
		}
		if _, err := f.client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return
		}
	}
}

func (f *foreign) cordon(t *testing.T, cordoned bool) {
	t.Helper()
	list, err := f.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		n.Spec.Unschedulable = cordoned
		if _, err := f.client.CoreV1().Nodes().Update(t.Context(), &n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
