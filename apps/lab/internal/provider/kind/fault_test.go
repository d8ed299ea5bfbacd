package kind_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/fault"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// The addresses of pods are those that the nodes were given, and the API server's those
// behind its Service. The fake stands in for an API server.
func TestNetworkOf(t *testing.T) {
	node := func(name string, pods ...string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: pods}}
	}
	slice := func(service, address string, port int32) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: service, Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{address}}}, Ports: []discoveryv1.EndpointPort{{Port: &port}},
		}
	}
	got, err := kind.NetworkOf(t.Context(), fake.NewClientset(node("a", "10.244.0.0/24", "fd00::/64"), node("b", "10.244.1.0/24"),
		slice("kubernetes", "172.18.0.2", 6443), slice("another", "172.18.0.9", 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := fault.Network{
		Pods:   []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("10.244.1.0/24")},
		API:    []netip.AddrPort{netip.MustParseAddrPort("172.18.0.2:6443")},
		Uplink: "eth0",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Errorf("the network (-want +got):\n%s", diff)
	}
	if _, err := kind.NetworkOf(t.Context(), fake.NewClientset(node("a", "10.244"))); err == nil {
		t.Error("a network that is none was taken, want an error")
	}
}
