package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// checkInspectOfMany writes 1,000 Services and 10,000 pods that wait at a scheduling
// gate, and inspects them. The goals are 10 s and 300 MiB; what is asserted is their
// order of magnitude, and the log has the figures.
func checkInspectOfMany(t *testing.T, f *foreign) {
	t.Helper()
	const (
		ns             = "lab-many"
		services, pods = 1000, 10
	)
	config := rest.CopyConfig(f.config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		f.waitGone(t, ns)
	}()
	var group errgroup.Group
	group.SetLimit(32)
	for i := range services {
		name := fmt.Sprintf("s%d", i)
		group.Go(func() error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
				ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Name: "grpc", Port: 8080}},
			}}
			if _, err := client.CoreV1().Services(ns).Create(ctx, service, metav1.CreateOptions{}); err != nil {
				return err
			}
			for n := range pods {
				pod := &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{
						Name: fmt.Sprintf("%s-%d", name, n), Labels: map[string]string{"app": name},
						OwnerReferences: []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Set", Name: name, UID: "1", Controller: new(true)}},
					},
					Spec: corev1.PodSpec{
						SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/never"}},
						Containers: []corev1.Container{{
							Name: "a", Image: "example.com/a:1", Args: []string{fmt.Sprintf("--target=dns:///s%d:8080", (i+1)%services), "--lb-policy=round_robin"},
							Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: 8080}},
						}},
					},
				}
				if _, err := client.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lab, "inspect", "-n", ns, "--for", "0s", "-o", "json")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "XDG_CACHE_HOME="+f.cache)
	begin := time.Now()
	out, _ := cmd.Output()
	took := time.Since(begin)
	// The field is of Linux, in KiB; the cluster runs nowhere else.
	peak := reflect.ValueOf(cmd.ProcessState.SysUsage()).Elem().FieldByName("Maxrss").Int() >> 10
	t.Logf("%d Services and %d pods: %.1f s, %d MiB", services, services*pods, took.Seconds(), peak)
	if found := strings.Count(string(out), `"verdict_by_objects"`); found != services {
		t.Errorf("%d services were judged, want %d; exit code %d", found, services, cmd.ProcessState.ExitCode())
	}
	if took > time.Minute || peak > 900 {
		t.Errorf("it took %s and %d MiB, want the order of 10 s and 300 MiB", took, peak)
	}
}
