package k8sresolver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// newSlice returns an EndpointSlice of the Service echo-server in the namespace
// shop with one port, named grpc, 8080.
func newSlice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: "shop",
			Labels:    map[string]string{discoveryv1.LabelServiceName: "echo-server"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{port("grpc", 8080)},
		Endpoints:   endpoints,
	}
}

func withPorts(es *discoveryv1.EndpointSlice, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	es.Ports = ports
	return es
}

func withType(es *discoveryv1.EndpointSlice, addressType discoveryv1.AddressType) *discoveryv1.EndpointSlice {
	es.AddressType = addressType
	return es
}

func port(name string, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: new(corev1.ProtocolTCP)}
}

func udp(p discoveryv1.EndpointPort) discoveryv1.EndpointPort {
	p.Protocol = new(corev1.ProtocolUDP)
	return p
}

func app(protocol string, p discoveryv1.EndpointPort) discoveryv1.EndpointPort {
	p.AppProtocol = &protocol
	return p
}

var (
	ready    = discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)}
	notReady = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)}
	draining = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	dying    = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(true)}
	unknown  = discoveryv1.EndpointConditions{}
)

// pod returns the endpoint of a pod, whose uid is its name with a "u-" in front.
func pod(name, addr string, conditions discoveryv1.EndpointConditions) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{addr},
		Conditions: conditions,
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: name, UID: types.UID("u-" + name)},
	}
}

// describe writes a state as one line an endpoint: its addresses and its pod.
func describe(s resolver.State) []string {
	var lines []string
	for _, e := range s.Endpoints {
		var addrs []string
		for _, a := range e.Addresses {
			addrs = append(addrs, a.Addr)
		}
		info, _ := k8sresolver.InfoFrom(e)
		line := strings.Join(addrs, "+") + " " + info.Pod
		if info.Terminating {
			line += " terminating"
		}
		lines = append(lines, line)
	}
	return lines
}

// Tests which endpoints a set of slices gives, with the port named grpc unless the
// case says another.
func TestJoin(t *testing.T) {
	tests := []struct {
		name       string
		received   []*discoveryv1.EndpointSlice
		portName   string
		portNumber uint16
		anyPort    bool
		want       []string
		wantErr    string // text within the error of an empty result
	}{
		{
			name: "slices_are_joined_and_sorted",
			received: []*discoveryv1.EndpointSlice{
				newSlice("b", pod("p3", "10.0.0.10", ready), pod("p1", "10.0.0.1", ready)),
				newSlice("a", pod("p2", "10.0.0.9", ready)),
			},
			want: []string{"10.0.0.1:8080 p1", "10.0.0.9:8080 p2", "10.0.0.10:8080 p3"},
		},
		{
			name:     "nil_conditions_mean_ready",
			received: []*discoveryv1.EndpointSlice{newSlice("a", pod("p1", "10.0.0.1", unknown))},
			want:     []string{"10.0.0.1:8080 p1"},
		},
		{
			name: "not_ready_and_terminating_are_left_out",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				pod("p1", "10.0.0.1", notReady), pod("p2", "10.0.0.2", draining), pod("p3", "10.0.0.3", ready))},
			want: []string{"10.0.0.3:8080 p3"},
		},
		{
			name: "serving_and_terminating_when_none_is_ready",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				pod("p1", "10.0.0.1", notReady), pod("p2", "10.0.0.2", draining), pod("p3", "10.0.0.3", dying))},
			want: []string{"10.0.0.2:8080 p2 terminating"},
		},
		{
			name: "serving_nil_means_serving",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				pod("p1", "10.0.0.1", discoveryv1.EndpointConditions{Ready: new(false), Terminating: new(true)}))},
			want: []string{"10.0.0.1:8080 p1 terminating"},
		},
		{
			name: "published_not_ready_addresses_are_ready",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				pod("p1", "10.0.0.1", discoveryv1.EndpointConditions{Ready: new(true), Serving: new(false), Terminating: new(true)}))},
			want: []string{"10.0.0.1:8080 p1 terminating"},
		},
		{
			name: "never_not_ready_without_terminating",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				pod("p1", "10.0.0.1", notReady), pod("p2", "10.0.0.2", notReady), pod("p3", "10.0.0.3", dying))},
			wantErr: `service "echo-server" in namespace "shop": 0 of 3 endpoints ready in 1 EndpointSlices`,
		},
		{
			name: "copy_received_last_wins",
			received: []*discoveryv1.EndpointSlice{
				newSlice("z", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)),
				newSlice("a", pod("p1", "10.0.0.1", notReady)),
			},
			want: []string{"10.0.0.2:8080 p2"},
		},
		{
			name: "first_address_only",
			received: []*discoveryv1.EndpointSlice{newSlice("a",
				discoveryv1.Endpoint{Addresses: []string{"10.0.0.1", "10.0.0.2"}}, discoveryv1.Endpoint{})},
			want: []string{"10.0.0.1:8080 "},
		},
		{
			name:     "ipv6_gets_brackets",
			received: []*discoveryv1.EndpointSlice{withType(newSlice("a", pod("p1", "2001:db8::1", ready)), discoveryv1.AddressTypeIPv6)},
			want:     []string{"[2001:db8::1]:8080 p1"},
		},
		{
			name: "dual_stack_pod_is_one_endpoint",
			received: []*discoveryv1.EndpointSlice{
				withType(newSlice("six", pod("p1", "2001:db8::1", ready), pod("p2", "2001:db8::2", ready)), discoveryv1.AddressTypeIPv6),
				newSlice("four", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)),
			},
			want: []string{"10.0.0.1:8080+[2001:db8::1]:8080 p1", "10.0.0.2:8080+[2001:db8::2]:8080 p2"},
		},
		{
			name: "fqdn_is_counted_and_skipped",
			received: []*discoveryv1.EndpointSlice{
				withType(newSlice("a", pod("p1", "echo.example.com", ready)), discoveryv1.AddressTypeFQDN),
			},
			wantErr: "0 of 0 endpoints ready in 1 EndpointSlices, 1 skipped because they are not IP addresses",
		},
		{
			name: "named_port_has_its_number_per_slice",
			received: []*discoveryv1.EndpointSlice{
				withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("http", 80), port("grpc", 8080)),
				withPorts(newSlice("b", pod("p2", "10.0.0.2", ready)), port("grpc", 9090)),
			},
			want: []string{"10.0.0.1:8080 p1", "10.0.0.2:9090 p2"},
		},
		{
			name: "slices_without_the_named_port_are_left_out",
			received: []*discoveryv1.EndpointSlice{
				newSlice("a", pod("p1", "10.0.0.1", ready)),
				withPorts(newSlice("b", pod("p2", "10.0.0.2", ready)), port("http", 80)),
			},
			want: []string{"10.0.0.1:8080 p1"},
		},
		{
			name:     "unknown_port_name",
			received: []*discoveryv1.EndpointSlice{newSlice("a", pod("p1", "10.0.0.1", ready))},
			portName: "nope",
			wantErr:  `0 of 1 endpoints ready in 1 EndpointSlices, 1 without a port named "nope" (TCP ports: ["grpc" 8080])`,
		},
		{
			name:     "named_port_is_tcp",
			received: []*discoveryv1.EndpointSlice{withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), udp(port("grpc", 8080)))},
			wantErr:  `1 without a port named "grpc"`,
		},
		{
			name:       "number_is_the_pods_port",
			received:   []*discoveryv1.EndpointSlice{withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)))},
			portNumber: 7070,
			want:       []string{"10.0.0.1:7070 p1"},
		},
		{
			name:     "no_port_takes_the_only_one",
			received: []*discoveryv1.EndpointSlice{withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("", 8080), udp(port("dns", 53)))},
			anyPort:  true,
			want:     []string{"10.0.0.1:8080 p1"},
		},
		{
			name: "no_port_takes_app_protocol",
			received: []*discoveryv1.EndpointSlice{
				withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("grpc-old", 80), app("kubernetes.io/h2c", port("api", 8080))),
				withPorts(newSlice("b", pod("p2", "10.0.0.2", ready)), app("http", port("web", 80)), app("grpc", port("api", 9090))),
			},
			anyPort: true,
			want:    []string{"10.0.0.1:8080 p1", "10.0.0.2:9090 p2"},
		},
		{
			name:     "no_port_takes_name",
			received: []*discoveryv1.EndpointSlice{withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("web", 80), port("grpc-api", 8080))},
			anyPort:  true,
			want:     []string{"10.0.0.1:8080 p1"},
		},
		{
			name:     "no_port_is_ambiguous",
			received: []*discoveryv1.EndpointSlice{withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("web", 80), port("api", 8080))},
			anyPort:  true,
			wantErr:  `name it in the target (TCP ports: ["web" 80 "api" 8080])`,
		},
		{
			name:    "no_slices",
			wantErr: "there is no EndpointSlice: does the Service exist, with a selector?",
		},
		{
			name:     "service_without_pods",
			received: []*discoveryv1.EndpointSlice{withPorts(newSlice("a"))},
			wantErr:  "0 of 0 endpoints ready in 1 EndpointSlices",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			portName := test.portName
			if portName == "" && test.portNumber == 0 && !test.anyPort {
				portName = "grpc"
			}
			state, err := k8sresolver.Join(test.received, portName, test.portNumber)
			if diff := cmp.Diff(test.want, describe(state)); diff != "" {
				t.Errorf("Join() (-want +got):\n%s", diff)
			}
			if got := fmt.Sprint(err); test.wantErr != "" && !strings.Contains(got, test.wantErr) {
				t.Errorf("Join() error = %q, want it to contain %q", got, test.wantErr)
			}
		})
	}
}

// Tests that what the slice tells about a pod is in the endpoint's attributes, and
// that addresses have none, since a change there would re-dial.
func TestJoin_Attributes(t *testing.T) {
	e := pod("p1", "10.0.0.1", ready)
	e.NodeName, e.Zone = new("node-1"), new("zone-a")
	state, err := k8sresolver.Join([]*discoveryv1.EndpointSlice{newSlice("a", e)}, "grpc", 0)
	if err != nil {
		t.Fatalf("Join() error = %v", err)
	}
	got, ok := k8sresolver.InfoFrom(state.Endpoints[0])
	want := k8sresolver.Info{Pod: "p1", UID: "u-p1", Node: "node-1", Zone: "zone-a"}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("InfoFrom() = %v (-want +got):\n%s", ok, diff)
	}
	want2 := resolver.Address{Addr: "10.0.0.1:8080"}
	if got := state.Endpoints[0].Addresses[0]; !got.Equal(want2) {
		t.Errorf("address = %v, want %v", got, want2)
	}
	again, _ := k8sresolver.Join([]*discoveryv1.EndpointSlice{newSlice("a", e)}, "grpc", 0)
	if !state.Endpoints[0].Attributes.Equal(again.Endpoints[0].Attributes) {
		t.Error("attributes of equal endpoints are not Equal")
	}
	if _, ok := k8sresolver.InfoFrom(resolver.Endpoint{}); ok {
		t.Error("InfoFrom() of another resolver's endpoint = true, want false")
	}
}
