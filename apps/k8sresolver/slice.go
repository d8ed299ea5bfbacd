package k8sresolver

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// slice is what is kept of an EndpointSlice. It is not changed once it is stored,
// so that it can be read without a lock.
type slice struct {
	name            string
	resourceVersion string
	// received orders the slices of a snapshot by their arrival; written by the
	// store before it keeps the slice.
	received uint64
	ports    []slicePort
	pods     []slicePod
	fqdn     int // endpoints left out because they have a name instead of an address
}

type slicePort struct {
	name, appProtocol string
	number            uint16
}

func (p slicePort) String() string {
	return fmt.Sprintf("%q %d", p.name, p.number)
}

type slicePod struct {
	addr netip.Addr
	info Info
	// Conditions with the meaning of nil applied.
	ready, serving, terminating bool
}

// trim copies what is needed, so that the decoded object can be collected. Ports
// that gRPC cannot use are left out: other protocols than TCP, and no number.
func trim(es *discoveryv1.EndpointSlice) *slice {
	s := &slice{name: strings.Clone(es.Name), resourceVersion: es.ResourceVersion}
	for _, p := range es.Ports {
		number := ptr.Deref(p.Port, 0)
		if ptr.Deref(p.Protocol, corev1.ProtocolTCP) != corev1.ProtocolTCP || number < 1 || number > 65535 {
			continue
		}
		s.ports = append(s.ports, slicePort{
			name:        ptr.Deref(p.Name, ""),
			appProtocol: ptr.Deref(p.AppProtocol, ""),
			number:      uint16(number),
		})
	}
	for i := range es.Endpoints {
		e := &es.Endpoints[i]
		if es.AddressType == discoveryv1.AddressTypeFQDN {
			s.fqdn++
			continue
		}
		// The API says that all addresses of an endpoint are fungible, and that
		// clients take the first.
		if len(e.Addresses) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(e.Addresses[0])
		if err != nil {
			s.fqdn++
			continue
		}
		s.pods = append(s.pods, trimPod(e, addr.Unmap()))
	}
	return s
}

func trimPod(e *discoveryv1.Endpoint, addr netip.Addr) slicePod {
	terminating := ptr.Deref(e.Conditions.Terminating, false)
	pod := slicePod{
		addr: addr,
		info: Info{
			Node:        ptr.Deref(e.NodeName, ""),
			Zone:        ptr.Deref(e.Zone, ""),
			Terminating: terminating,
		},
		ready:       ptr.Deref(e.Conditions.Ready, true),
		serving:     ptr.Deref(e.Conditions.Serving, true),
		terminating: terminating,
	}
	if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" {
		pod.info.Pod = ref.Name
		pod.info.UID = string(ref.UID)
	}
	return pod
}

// resolve returns the number of the port in this slice.
func (s *slice) resolve(port portRef) (uint16, bool) {
	switch {
	case port.number != 0:
		return port.number, true
	case port.name != "":
		return only(s.ports, func(p slicePort) bool { return p.name == port.name })
	}
	for _, is := range []func(slicePort) bool{
		func(slicePort) bool { return true },
		func(p slicePort) bool { return p.appProtocol == "kubernetes.io/h2c" || p.appProtocol == "grpc" },
		func(p slicePort) bool { return strings.HasPrefix(p.name, "grpc") },
	} {
		if number, ok := only(s.ports, is); ok {
			return number, true
		}
	}
	return 0, false
}

// only returns the number of the one port for which is holds.
func only(ports []slicePort, is func(slicePort) bool) (number uint16, ok bool) {
	matches := 0
	for _, p := range ports {
		if is(p) {
			number = p.number
			matches++
		}
	}
	return number, matches == 1
}
