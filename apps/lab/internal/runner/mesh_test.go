package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Who takes the control plane away waits until nobody uses it, and who comes
// meanwhile until it is back: those that use it do so side by side.
func TestMeshUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := runner.NewMesh(nil)
		begin := time.Now()
		var mu sync.Mutex
		var log []string
		note := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, fmt.Sprintf("%v %s", time.Since(begin), text))
		}
		user := func(name string, comes, stays time.Duration, alone bool) {
			go func() {
				time.Sleep(comes)
				done, err := m.Use(t.Context(), alone)
				if err != nil {
					t.Error(err)
					return
				}
				note(name + " begins")
				time.Sleep(stays)
				note(name + " ends")
				done()
			}()
		}
		user("a", 0, 5*time.Second, false)
		user("b", time.Second, 6*time.Second, false)
		user("alone", 2*time.Second, 10*time.Second, true)
		user("c", 3*time.Second, 2*time.Second, false) // does not overtake it
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"0s a begins", "1s b begins", "5s a ends", "7s b ends", "7s alone begins", "17s alone ends", "17s c begins", "19s c ends"}
		if diff := cmp.Diff(want, log); diff != "" {
			t.Errorf("uses (-want +got):\n%s", diff)
		}
	})
}

// Who waits for the control plane learns why the run ends, and holds nothing.
func TestMeshUseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := runner.NewMesh(nil)
		done, err := m.Use(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(interrupted) })
		for _, alone := range []bool{false, true} {
			if _, err := m.Use(ctx, alone); !errors.Is(err, interrupted) {
				t.Errorf("alone %v: waiting gives %v, want %v", alone, err, interrupted)
			}
		}
		done()
		if done, err = m.Use(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		done()
	})
}

// A control plane that the cluster has, or that is not to be installed, is
// neither installed nor removed. One that cannot be installed is tried once, for
// all who need it, and what was left of it is removed once the last has left. The
// fake stands in for an API server, and there is no istioctl.
func TestMeshJoin(t *testing.T) {
	injector := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector"}}
	nowhere := &istio.Istio{
		Programs: map[string]string{component.Istio.Name: "/nowhere", component.Istioctl.Name: "/nowhere"}, Versions: map[string]string{component.Istio.Name: "v1", component.Envoy.Name: "v2"},
	}
	there := &kube.Client{Typed: fake.NewClientset(injector)}
	for _, test := range []struct {
		name   string
		istio  *istio.Istio
		client *kube.Client
		fails  bool
		want   []string // how the notes begin
	}{
		{name: "not_to_be_installed", client: &kube.Client{Typed: fake.NewClientset()}},
		{name: "there", istio: nowhere, client: there},
		{
			name: "cannot_be_installed", istio: nowhere, client: &kube.Client{Typed: fake.NewClientset()}, fails: true,
			want: []string{"install Istio v1 with the upstream Envoy v2", "remove Istio", "istio: istioctl manifest generate"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := runner.NewMesh(test.istio)
			var notes []string
			note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
			for n := range 2 {
				installed, err := m.Join(t.Context(), test.client, note)
				if (err != nil) != test.fails || (installed != "") != test.fails {
					t.Errorf("join %d: installed %q, error %v, want both: %v", n+1, installed, err, test.fails)
				}
			}
			m.Leave(t.Context(), test.client, note)
			if n := len(notes); test.fails && n != 1 {
				t.Errorf("notes %q while one still uses it, want nothing removed", notes)
			}
			m.Leave(t.Context(), test.client, note)
			if len(notes) != len(test.want) {
				t.Fatalf("notes %q, want %q", notes, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(notes[i], want) {
					t.Errorf("note %q, want %q", notes[i], want)
				}
			}
		})
	}
}
