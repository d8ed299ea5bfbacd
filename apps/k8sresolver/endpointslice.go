package k8sresolver

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// endpointSlice is what is kept of an EndpointSlice, about 100 bytes an endpoint. It
// does not change after it is stored, so that it can be read without a lock.
type endpointSlice struct {
	name            string
	resourceVersion string
	// received orders the slices of a snapshot by their arrival; written by the
	// store before it keeps the slice.
	received  uint64
	ports     []endpointPort
	endpoints []endpoint
	text      string // names and uids of all pods, one after the other
	fqdn      int    // endpoints left out because they have a name instead of an address
}

type endpointPort struct {
	name, appProtocol string
	number            uint16
}

func (p endpointPort) String() string {
	return fmt.Sprintf("%q %d", p.name, p.number)
}

// endpoint is one endpoint of a slice. There can be many thousands, so it is small:
// its strings are shared, or packed into the slice's text.
type endpoint struct {
	addr     netip.Addr
	topology unique.Handle[hintedTopology]
	text     uint32 // where the name begins in the slice's text; the uid follows it
	name     uint8  // length in bytes
	uid      uint8  // length in bytes
	traits   traits
}

// traits has the conditions of an endpoint, with the meaning of nil applied.
type traits uint8

const (
	ready traits = 1 << iota
	serving
	terminating
	packedUID // the uid is a UUID, in its 16 bytes
)

// is reports whether all of the traits hold.
func (p *endpoint) is(all traits) bool { return p.traits&all == all }

// hintedTopology is what the pods of a node have in common.
type hintedTopology struct {
	topology
	// The zones and nodes whose clients shall use the endpoint, joined by commas, which
	// names of zones and nodes do not contain. Empty without hints.
	forZones, forNodes string
}

func (s *endpointSlice) podName(p *endpoint) string {
	return s.text[p.text:][:p.name]
}

// rawUID returns what is equal for equal uids.
func (s *endpointSlice) rawUID(p *endpoint) string {
	return s.text[p.text:][p.name:][:p.uid]
}

func (s *endpointSlice) info(p *endpoint) Info {
	at := p.topology.Value()
	uid := s.rawUID(p)
	if p.is(packedUID) {
		uid = unpackUID(uid)
	}
	return Info{Pod: s.podName(p), UID: uid, Node: at.node, Zone: at.zone, Terminating: p.is(terminating)}
}

// trim copies what is needed, so that the decoded object can be collected. Ports
// that gRPC cannot use are left out: other protocols than TCP, and no number.
func trim(es *discoveryv1.EndpointSlice) *endpointSlice {
	s := &endpointSlice{name: strings.Clone(es.Name), resourceVersion: strings.Clone(es.ResourceVersion)}
	for _, p := range es.Ports {
		number := ptr.Deref(p.Port, 0)
		if ptr.Deref(p.Protocol, corev1.ProtocolTCP) != corev1.ProtocolTCP || number < 1 || number > math.MaxUint16 {
			continue
		}
		s.ports = append(s.ports, endpointPort{
			name:        strings.Clone(ptr.Deref(p.Name, "")),
			appProtocol: strings.Clone(ptr.Deref(p.AppProtocol, "")),
			number:      uint16(number),
		})
	}
	s.endpoints = make([]endpoint, 0, len(es.Endpoints))
	var text strings.Builder
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
		s.endpoints = append(s.endpoints, trimEndpoint(e, addr.Unmap(), &text))
	}
	s.text = strings.Clone(text.String()) // without the builder's spare room
	return s
}

func trimEndpoint(e *discoveryv1.Endpoint, addr netip.Addr, text *strings.Builder) endpoint {
	trimmed := endpoint{addr: addr, topology: unique.Make(topologyOf(e)), text: uint32(text.Len())}
	for _, c := range []struct {
		value  *bool
		absent bool
		trait  traits
	}{
		{e.Conditions.Ready, true, ready},
		{e.Conditions.Serving, true, serving},
		{e.Conditions.Terminating, false, terminating},
	} {
		if ptr.Deref(c.value, c.absent) {
			trimmed.traits |= c.trait
		}
	}
	if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" {
		uid := string(ref.UID)
		if packed, ok := packUID(uid); ok {
			uid = packed
			trimmed.traits |= packedUID
		}
		trimmed.name = pack(text, ref.Name)
		trimmed.uid = pack(text, uid)
	}
	return trimmed
}

// pack appends s to the text and returns its length. Names of pods have at most 253
// bytes; what is longer is none, and is cut.
func pack(text *strings.Builder, s string) uint8 {
	s = s[:min(len(s), math.MaxUint8)]
	text.WriteString(s)
	return uint8(len(s))
}

func topologyOf(e *discoveryv1.Endpoint) hintedTopology {
	at := hintedTopology{topology: topology{node: ptr.Deref(e.NodeName, ""), zone: ptr.Deref(e.Zone, "")}}
	if e.Hints == nil {
		return at
	}
	var zones, nodes []string
	for _, z := range e.Hints.ForZones {
		zones = append(zones, z.Name)
	}
	for _, n := range e.Hints.ForNodes {
		nodes = append(nodes, n.Name)
	}
	at.forZones, at.forNodes = strings.Join(zones, ","), strings.Join(nodes, ",")
	return at
}

// resolve returns the number of the port in this slice.
func (s *endpointSlice) resolve(port portRef) (uint16, bool) {
	switch {
	case port.number != 0:
		return port.number, true
	case port.name != "":
		return only(s.ports, func(p endpointPort) bool { return p.name == port.name })
	}
	for _, is := range []func(endpointPort) bool{
		func(endpointPort) bool { return true },
		func(p endpointPort) bool { return p.appProtocol == "kubernetes.io/h2c" || p.appProtocol == "grpc" },
		func(p endpointPort) bool { return strings.HasPrefix(p.name, "grpc") },
	} {
		if number, ok := only(s.ports, is); ok {
			return number, true
		}
	}
	return 0, false
}

// only returns the number of the one port for which is holds.
func only(ports []endpointPort, is func(endpointPort) bool) (number uint16, ok bool) {
	matches := 0
	for _, p := range ports {
		if is(p) {
			number = p.number
			matches++
		}
	}
	return number, matches == 1
}
