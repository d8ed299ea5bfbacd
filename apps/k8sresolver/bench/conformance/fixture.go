package conformance

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// slice returns an EndpointSlice of the Service with one port, named grpc, 8080.
func slice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{tcp("grpc", 8080)},
		Endpoints:   endpoints,
	}
}

func withPorts(es *discoveryv1.EndpointSlice, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	es.Ports = ports
	return es
}

func ipv6(es *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	es.AddressType = discoveryv1.AddressTypeIPv6
	return es
}

func tcp(name string, number int32) discoveryv1.EndpointPort {
	protocol := corev1.ProtocolTCP
	return discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &protocol}
}

func udp(name string, number int32) discoveryv1.EndpointPort {
	p, protocol := tcp(name, number), corev1.ProtocolUDP
	p.Protocol = &protocol
	return p
}

func app(protocol string, p discoveryv1.EndpointPort) discoveryv1.EndpointPort {
	p.AppProtocol = &protocol
	return p
}

// Conditions of an endpoint.
var (
	yes, no = true, false

	ready    = discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}
	starting = discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &no}
	draining = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
	dying    = discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &yes}
	unknown  = discoveryv1.EndpointConditions{}
)

// pod returns the endpoint of a ready pod, whose uid is its name with a "u-" in front.
func pod(name string, addresses ...string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  addresses,
		Conditions: ready,
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: name, UID: types.UID("u-" + name)},
	}
}

func as(c discoveryv1.EndpointConditions, e discoveryv1.Endpoint) discoveryv1.Endpoint {
	e.Conditions = c
	return e
}

// on places an endpoint on a node in a zone.
func on(node, zone string, e discoveryv1.Endpoint) discoveryv1.Endpoint {
	e.NodeName, e.Zone = &node, &zone
	return e
}

// forZone hints that clients in the zone use the endpoint.
func forZone(zone string, e discoveryv1.Endpoint) discoveryv1.Endpoint {
	if e.Hints == nil {
		e.Hints = &discoveryv1.EndpointHints{}
	}
	e.Hints.ForZones = append(e.Hints.ForZones, discoveryv1.ForZone{Name: zone})
	return e
}

// forNode hints that clients on the node use the endpoint.
func forNode(node string, e discoveryv1.Endpoint) discoveryv1.Endpoint {
	if e.Hints == nil {
		e.Hints = &discoveryv1.EndpointHints{}
	}
	e.Hints.ForNodes = append(e.Hints.ForNodes, discoveryv1.ForNode{Name: node})
	return e
}

// many returns n slices of size pods each, and the lines of their endpoints.
func many(n, size int) (all []*discoveryv1.EndpointSlice, want []string) {
	for i := range n {
		var pods []discoveryv1.Endpoint
		for j := range size {
			k := i*size + j
			address := fmt.Sprintf("10.%d.%d.%d", 1+k/62500, k/250%250, 1+k%250)
			pods = append(pods, pod(fmt.Sprint("p", k), address))
			want = append(want, address+":"+port)
		}
		all = append(all, slice(fmt.Sprint("s", i), pods...))
	}
	return all, want
}
