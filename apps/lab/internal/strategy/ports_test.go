package strategy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// holding is a container that takes those ports of its node; 0 is one of its own.
func holding(ports ...int32) corev1.Container {
	c := corev1.Container{Name: "x"}
	for _, p := range ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 8080, HostPort: p})
	}
	return c
}

// A pod takes the ports of its node that any of its containers names, those that
// are its own aside.
func TestHostPorts(t *testing.T) {
	for _, test := range []struct {
		name string
		spec corev1.PodSpec
		want []int32
	}{
		{name: "none", spec: corev1.PodSpec{Containers: []corev1.Container{holding(), holding(0)}}},
		{name: "some", spec: corev1.PodSpec{Containers: []corev1.Container{holding(0, 4140), holding(9990, 4141)}}, want: []int32{4140, 9990, 4141}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, strategy.HostPorts(test.spec)); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

// A port is taken by a pod of any other namespace that has not ended, whether it
// runs already or waits for its node, and by none of this one. The fake stands in
// for an API server.
func TestTakenPorts(t *testing.T) {
	pod := func(namespace, name, node string, phase corev1.PodPhase, ports ...int32) runtime.Object {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{holding(ports...)}},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	for _, test := range []struct {
		name string
		pods []runtime.Object
		want []string
	}{
		{name: "no_pod"},
		{name: "own_namespace", pods: []runtime.Object{pod("own", "l5d", "n1", corev1.PodRunning, 4140)}},
		{name: "other_ports", pods: []runtime.Object{pod("other", "x", "n1", corev1.PodRunning, 4141, 0)}},
		{name: "taken", pods: []runtime.Object{pod("other", "x", "n1", corev1.PodRunning, 4140)}, want: []string{"port 4140 of node n1 is taken by pod other/x"}},
		{name: "both_ports", pods: []runtime.Object{pod("other", "x", "n1", corev1.PodRunning, 9990, 4140)}, want: []string{
			"port 9990 of node n1 is taken by pod other/x", "port 4140 of node n1 is taken by pod other/x",
		}},
		{name: "waits_for_a_node", pods: []runtime.Object{pod("other", "x", "", corev1.PodPending, 4140)}, want: []string{"port 4140 of node ? is taken by pod other/x"}},
		{name: "has_ended", pods: []runtime.Object{pod("other", "x", "n1", corev1.PodSucceeded, 4140), pod("other", "y", "n1", corev1.PodFailed, 4140)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := &kube.Client{Typed: fake.NewClientset(test.pods...)}
			got, err := strategy.TakenPorts(t.Context(), client, []int32{4140, 9990}, "own")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("taken (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("not_known", func(t *testing.T) {
		broken, client := errors.New("no answer"), fake.NewClientset()
		client.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, broken })
		if got, err := strategy.TakenPorts(t.Context(), &kube.Client{Typed: client}, []int32{4140}, "own"); !errors.Is(err, broken) {
			t.Errorf("taken %q, error %v, want %v", got, err, broken)
		}
	})
}

// The node proxies' account and ports are those of the DaemonSet that the
// strategy names; a strategy without one has none.
func TestProxyOf(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := repository.Render("linkerd")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := manifest.Unstructured(rendered)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(strategy.All(), func(s runner.Strategy) bool { return s.Name == "linkerd" })
	account, ports, err := strategy.ProxyOf(strategy.All()[i], objects)
	if err != nil || account != "l5d" || !slices.Equal(ports, []int32{4140}) {
		t.Errorf("account %q, ports %v, error %v, want l5d and 4140", account, ports, err)
	}
	if _, _, err := strategy.ProxyOf(runner.Strategy{Proxy: "envoy"}, objects); err == nil || !strings.Contains(err.Error(), "no DaemonSet/envoy") {
		t.Errorf("of another proxy: error %v, want one that names it", err)
	}
}

// A right that the API server is slow to learn of is waited for, a while; one
// that nobody gave is missing then. The fake stands in for an API server.
func TestMayRead(t *testing.T) {
	broken := errors.New("no answer")
	for _, test := range []struct {
		name    string
		yes     int // the answer that is the first "yes", from 1; 0 for none
		err     error
		want    bool
		atMost  time.Duration
		atLeast time.Duration
	}{
		{name: "at_once", yes: 1, want: true},
		{name: "soon", yes: 4, want: true, atLeast: 600 * time.Millisecond, atMost: 600 * time.Millisecond},
		{name: "never", atLeast: 5 * time.Second, atMost: 6 * time.Second},
		{name: "not_known", err: broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, asked := fake.NewClientset(), 0
				client.PrependReactor("create", "subjectaccessreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
					asked++
					review := a.(k8stesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
					if r := review.Spec.ResourceAttributes; review.Spec.User != "system:serviceaccount:own:l5d" || r.Namespace != "own" || r.Verb != "watch" || r.Resource != "endpoints" {
						t.Errorf("asked %+v about %+v, want whether own's l5d may watch endpoints", review.Spec, r)
					}
					review.Status.Allowed = test.yes > 0 && asked >= test.yes
					return true, review, test.err
				})
				begin := time.Now()
				got, err := strategy.MayRead(t.Context(), &kube.Client{Typed: client}, "own", "l5d", "watch")
				if got != test.want || !errors.Is(err, test.err) {
					t.Errorf("allowed %v, error %v, want %v and %v", got, err, test.want, test.err)
				}
				if took := time.Since(begin); took < test.atLeast || took > test.atMost {
					t.Errorf("it took %s, want %s to %s", took, test.atLeast, test.atMost)
				}
			})
		})
	}
}

// Linkerd's counter is read from a flat object of numbers, 0 where it has not
// been called yet; what is no such object is an error.
func TestLinkerdCounter(t *testing.T) {
	const name = "rt/grpc/service/svc/com.example.grpc.EchoService/requests"
	for _, test := range []struct {
		name, raw string
		want      int64
		wantErr   bool
	}{
		{name: "called", raw: `{"jvm/uptime":12.5,"` + name + `":500,"rt/grpc/server/requests":7}`, want: 500},
		{name: "many", raw: `{"` + name + `":9007199254740993}`, want: 9007199254740993}, // more than a float64 tells apart
		{name: "not_called", raw: `{"jvm/uptime":12.5}`},
		{name: "another_service", raw: `{"rt/grpc/service/svc/com.example.grpc.Other/requests":7}`},
		{name: "a_part", raw: `{"` + name + `":1.5}`, wantErr: true},
		{name: "no_number", raw: `{"` + name + `":{"count":1}}`, wantErr: true},
		{name: "list", raw: `[]`, wantErr: true},
		{name: "page", raw: "<html>", wantErr: true},
		{name: "nothing", wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := strategy.LinkerdCounter([]byte(test.raw))
			if (err != nil) != test.wantErr || got != test.want {
				t.Errorf("counted %d, error %v, want %d, an error: %v", got, err, test.want, test.wantErr)
			}
		})
	}
}
