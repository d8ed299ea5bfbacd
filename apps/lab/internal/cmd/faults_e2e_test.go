package main_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
)

// checkFaults breaks the network of a whole cluster, as its pods and nodes see it,
// through the Services of the API server and of DNS. The lab's own access goes on, and
// after it the nodes are as they were.
func checkFaults(t *testing.T, f *foreign) {
	t.Helper()
	d := dirs.New(filepath.Join(f.cache, "grpc-lb"), root)
	_, on, err := registry.All(d, root).Find(t.Context())
	if err != nil || on == nil {
		t.Fatalf("no cluster: %v", err)
	}
	nodes := on.Status().Nodes
	pod := processOf(t, d.ID, "coredns")
	type question struct {
		name    string
		from    int // a process
		address string
	}
	questions := []question{
		{"API from a pod", pod, "10.96.0.1:443"},
		{"DNS from a pod", pod, "10.96.0.10:53"},
		{"API from its node", nodes[0].Pid, "10.96.0.1:443"},
		{"API from the worker", nodes[1].Pid, "10.96.0.1:443"},
		{"the worker's kubelet", nodes[0].Pid, "172.30.0.2:10250"},
	}
	silent := func(within time.Duration) (names []string) {
		for _, q := range questions {
			inNetworkOf(t, q.from, func() error {
				c, err := net.DialTimeout("tcp4", q.address, within)
				if err != nil {
					names = append(names, q.name)
					return nil
				}
				return c.Close()
			})
		}
		return names
	}
	nodeState := func() (state string) {
		for _, n := range nodes {
			for _, command := range []string{"ip route", "ip -brief address", "nft list ruleset"} {
				// Counters change by themselves.
				out, err := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(n.Pid), "-n", "sh", "-c", command+" | grep -v counter").CombinedOutput()
				if err != nil {
					t.Fatalf("%s on %s: %v: %s", command, n.Name, err, out)
				}
				state += fmt.Sprintf("%s: %s:\n%s", n.Name, command, out)
			}
		}
		return state
	}
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll.Until(limited, 100*time.Millisecond, func(context.Context) (string, error) { // kube-proxy may have just begun
		return strings.Join(silent(5*time.Second), ", "), nil
	}); err != nil {
		t.Fatalf("what does not answer before any fault: %v", err)
	}
	for _, test := range []struct {
		fault cluster.Fault
		want  []string
	}{
		{cluster.Fault{Kind: cluster.APIAway}, []string{"API from a pod"}},
		{cluster.Fault{Kind: cluster.DNSAway}, []string{"DNS from a pod"}},
		{cluster.Fault{Kind: cluster.LinkDown, Node: nodes[1].Name}, []string{"API from the worker", "the worker's kubelet"}},
	} {
		before := nodeState()
		mend, err := on.Break(t.Context(), test.fault)
		if err != nil {
			t.Fatal(err)
		}
		got := silent(time.Second)
		if test.fault.Kind == cluster.LinkDown { // the pod may run on the worker
			got = slices.DeleteFunc(got, func(name string) bool { return name == "API from a pod" })
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: silent (-want +got):\n%s", test.fault.Kind, diff)
		}
		if _, err := f.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("%s: the lab's access: %v", test.fault.Kind, err)
		}
		for range 2 {
			if err := mend(t.Context()); err != nil {
				t.Errorf("%s: mend: %v", test.fault.Kind, err)
			}
		}
		if names := silent(10 * time.Second); names != nil {
			t.Errorf("%s: %q do not answer after it", test.fault.Kind, names)
		}
		if diff := cmp.Diff(before, nodeState()); diff != "" {
			t.Errorf("%s: the nodes (-before +after):\n%s", test.fault.Kind, diff)
		}
	}
	if _, err := on.Break(t.Context(), cluster.Fault{Kind: cluster.LinkDown, Node: nodes[0].Name}); err == nil || !strings.Contains(err.Error(), nodes[1].Name) {
		t.Errorf("cutting off the control plane: %v, want an error that names the worker", err)
	}
	list, err := f.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				t.Errorf("%s is not ready: %s", n.Name, c.Message)
			}
		}
	}
}

// processOf returns a process of a cluster's pod by its name.
func processOf(t *testing.T, cluster, name string) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		comm, _ := os.ReadFile(file)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && string(comm) == name+"\n" && strings.Contains(string(groups), cluster) {
			return pid
		}
	}
	t.Fatalf("no process %s of cluster %s", name, cluster)
	return 0
}
