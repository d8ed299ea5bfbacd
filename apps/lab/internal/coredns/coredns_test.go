package coredns_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/coredns"
)

// kubeadm is what kubeadm configures; CoreDNS then asks its own watch each time.
const kubeadm = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
`

// How long records are kept is read from the server that answers for the
// cluster's zone, as CoreDNS reads it.
func TestCorefile(t *testing.T) {
	for _, test := range []struct {
		name, corefile string
		ttl, cache     time.Duration
		unknown        bool
	}{
		{name: "kubeadm", corefile: kubeadm, ttl: 30 * time.Second},
		{name: "kubeadm_of_old", corefile: ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n  ttl 30\n }\n cache 30\n}", ttl: 30 * time.Second, cache: 30 * time.Second},
		{name: "coredns_takes_its_own", corefile: ".:53 {\n kubernetes cluster.local\n cache\n}", ttl: 5 * time.Second, cache: 5 * time.Second},
		{name: "no_cache", corefile: ".:53 {\n kubernetes cluster.local {\n ttl 7\n }\n}", ttl: 7 * time.Second},
		{name: "success_has_its_own_time", corefile: ".:53 {\n kubernetes cluster.local {\n ttl 30\n }\n cache 60 {\n success 9984 10\n }\n}", ttl: 30 * time.Second, cache: 10 * time.Second},
		{name: "other_zone_is_disabled", corefile: ".:53 {\n kubernetes cluster.local {\n ttl 30\n }\n cache 20 {\n disable success example.org\n }\n}", ttl: 30 * time.Second, cache: 20 * time.Second},
		{name: "all_is_disabled", corefile: ".:53 {\n kubernetes cluster.local {\n ttl 30\n }\n cache 20 {\n disable success\n }\n}", ttl: 30 * time.Second},
		{name: "cache_of_another_zone", corefile: ".:53 {\n kubernetes cluster.local {\n ttl 30\n }\n cache 20 example.org\n}", ttl: 30 * time.Second},
		{name: "second_server", corefile: "example.org:53 {\n cache 300\n}\n# the cluster\ncluster.local:53 {\n kubernetes cluster.local. {\n ttl 15 # short\n }\n cache 10 local\n}", ttl: 15 * time.Second, cache: 10 * time.Second},
		{name: "no_cluster", corefile: ".:53 {\n forward . /etc/resolv.conf\n cache 30\n}", unknown: true},
		{name: "broken_ttl", corefile: ".:53 {\n kubernetes cluster.local {\n ttl soon\n }\n}", unknown: true},
		{name: "empty", unknown: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ttl, cache, known := coredns.Parse(test.corefile)
			if ttl != test.ttl || cache != test.cache || known == test.unknown {
				t.Errorf("TTL %s, cache %s, known %v, want %s, %s, %v", ttl, cache, known, test.ttl, test.cache, !test.unknown)
			}
		})
	}
}

// Without the right to read it, or with a cache on the nodes before it, nothing is
// known of the DNS. The fake stands in for an API server.
func TestDNS(t *testing.T) {
	config := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system"}, Data: map[string]string{"Corefile": kubeadm}}
	}
	for _, test := range []struct {
		name    string
		objects []runtime.Object
		forbid  bool
		known   bool
	}{
		{name: "coredns", objects: []runtime.Object{config("coredns")}, known: true},
		{name: "another_dns", objects: nil},
		{name: "node_cache", objects: []runtime.Object{config("coredns"), config("node-local-dns")}},
		{name: "forbidden", objects: []runtime.Object{config("coredns")}, forbid: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			typed := fake.NewClientset(test.objects...)
			if test.forbid {
				typed.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "coredns", nil)
				})
			}
			ttl, cache, known := coredns.Read(t.Context(), typed)
			if known != test.known || known && (ttl != 30*time.Second || cache != 0) {
				t.Errorf("TTL %s, cache %s, known %v, want known %v", ttl, cache, known, test.known)
			}
		})
	}
}
