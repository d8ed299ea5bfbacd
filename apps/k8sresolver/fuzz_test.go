package k8sresolver_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// Fuzzes the join against modelJoin. The bytes are dealt to few addresses, pods and
// ports, so that slices overlap.
func FuzzJoin(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 0, 1, 0, 5, 2, 3, 4, 1, 1, 1, 1})
	f.Add([]byte("two slices, both with a copy of the same pod, and a second port"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dealer(data)
		portName, portNumber := d.pick("grpc", "http", ""), uint16(0)
		if portName == "" {
			portNumber = 7070
		}
		var received []*discoveryv1.EndpointSlice
		for range d.below(5) {
			received = append(received, d.slice(len(received)))
		}
		node, zone := d.pick("", "n1"), d.pick("", "z1")
		state, err := k8sresolver.JoinHere(received, portName, portNumber, node, zone)
		if diff := cmp.Diff(modelJoinHere(received, portName, portNumber, node, zone), describe(state)); diff != "" {
			t.Errorf("Join() (-model +got):\n%s", diff)
		}
		if (err != nil) != (len(state.Endpoints) == 0) {
			t.Errorf("Join() = %d endpoints and error %v, want an error only of none", len(state.Endpoints), err)
		}
	})
}

// dealer makes choices out of bytes, and the first of each when they are used up.
type dealer []byte

func (d *dealer) below(n int) int {
	if len(*d) == 0 {
		return 0
	}
	b := (*d)[0]
	*d = (*d)[1:]
	return int(b) % n
}

func (d *dealer) pick(of ...string) string { return of[d.below(len(of))] }

func (d *dealer) condition() *bool { return []*bool{nil, new(true), new(false)}[d.below(3)] }

func (d *dealer) slice(n int) *discoveryv1.EndpointSlice {
	es := withPorts(newSlice(fmt.Sprint("slice-", n)))
	for _, name := range []string{"grpc", "http"} {
		p := port(name, int32(8080+d.below(2)))
		switch d.below(4) {
		case 0:
			continue
		case 1:
			p = udp(p)
		}
		es.Ports = append(es.Ports, p)
	}
	for range d.below(6) {
		e := pod(d.pick("p1", "p2", "p3"), d.pick("10.0.0.1", "10.0.0.2", "10.0.0.30", "2001:db8::1", "echo.example.com"),
			discoveryv1.EndpointConditions{Ready: d.condition(), Serving: d.condition(), Terminating: d.condition()})
		if d.below(4) == 0 {
			e.TargetRef = nil
		}
		if d.below(3) > 0 {
			e = hint(e, [][]string{nil, {"z1"}, {"z2"}, {"z1", "z2"}}[d.below(4)], [][]string{nil, {"n1"}, {"n2"}}[d.below(3)])
		}
		es.Endpoints = append(es.Endpoints, e)
	}
	return es
}

func modelJoin(received []*discoveryv1.EndpointSlice, portName string, portNumber uint16) []string {
	return modelJoinHere(received, portName, portNumber, "", "")
}

// modelJoinHere is the join as the documentation says it, without a thought for speed.
func modelJoinHere(received []*discoveryv1.EndpointSlice, portName string, portNumber uint16, node, zone string) []string {
	type copyOf struct {
		at netip.AddrPort
		e  discoveryv1.Endpoint
	}
	var all []copyOf
	for _, es := range received {
		number := portNumber
		for _, p := range es.Ports {
			if portName != "" && *p.Name == portName && *p.Protocol == "TCP" {
				number = uint16(*p.Port)
			}
		}
		for _, e := range es.Endpoints {
			if addr, err := netip.ParseAddr(e.Addresses[0]); err == nil && number != 0 {
				all = append(all, copyOf{netip.AddrPortFrom(addr, number), e})
			}
		}
	}
	var latest []copyOf
	for i, c := range all {
		superseded := false
		for _, later := range all[i+1:] {
			superseded = superseded || later.at == c.at
		}
		if !superseded {
			latest = append(latest, c)
		}
	}
	yes := func(b *bool) bool { return b == nil || *b }
	terminating := func(e discoveryv1.Endpoint) bool { return e.Conditions.Terminating != nil && *e.Conditions.Terminating }
	var ready, draining []copyOf
	for _, c := range latest {
		if yes(c.e.Conditions.Ready) {
			ready = append(ready, c)
		} else if yes(c.e.Conditions.Serving) && terminating(c.e) {
			draining = append(draining, c)
		}
	}
	hinted := func(here string, hints func(discoveryv1.EndpointHints) []string) []copyOf {
		var local []copyOf
		for _, c := range ready {
			if c.e.Hints == nil || len(hints(*c.e.Hints)) == 0 {
				return nil
			}
			if slices.Contains(hints(*c.e.Hints), here) {
				local = append(local, c)
			}
		}
		return local
	}
	used := ready
	if local := hinted(zone, func(h discoveryv1.EndpointHints) (names []string) {
		for _, z := range h.ForZones {
			names = append(names, z.Name)
		}
		return names
	}); len(local) > 0 {
		used = local
	}
	if local := hinted(node, func(h discoveryv1.EndpointHints) (names []string) {
		for _, n := range h.ForNodes {
			names = append(names, n.Name)
		}
		return names
	}); len(local) > 0 {
		used = local
	}
	if len(ready) == 0 {
		used = draining
	}
	sort.Slice(used, func(i, j int) bool { return used[i].at.Compare(used[j].at) < 0 })

	var lines []string
	listed := make(map[string]bool)
	for _, c := range used {
		ref := c.e.TargetRef
		if ref == nil {
			lines = append(lines, line(c.at.String(), "", terminating(c.e)))
			continue
		}
		if listed[ref.Name] {
			continue
		}
		listed[ref.Name] = true
		var addrs []string
		for _, other := range used {
			if other.e.TargetRef != nil && other.e.TargetRef.Name == ref.Name {
				addrs = append(addrs, other.at.String())
			}
		}
		lines = append(lines, line(strings.Join(addrs, "+"), ref.Name, terminating(c.e)))
	}
	return lines
}

func line(addrs, pod string, terminating bool) string {
	if terminating {
		return addrs + " " + pod + " terminating"
	}
	return addrs + " " + pod
}

// Fuzzes the packing of uids: what is packed reads the same again, and every UUID in
// its usual form is packed.
func FuzzPackUID(f *testing.F) {
	form := regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
	f.Add("0b9a1c5e-6d0f-4a52-9d3c-000000000001")
	f.Add("0B9A1C5E-6d0f-4a52-9d3c-000000000001")
	f.Add("0b9a1c5e6-d0f-4a52-9d3c-000000000001")
	f.Add("{0b9a1c5e-6d0f-4a52-9d3c-000000000001}")
	f.Add("urn:uuid:0b9a1c5e-6d0f-4a52-9d3c-000000000001")
	f.Add("0b9a1c5e6d0f4a529d3c000000000001")
	f.Add("u-p1")
	f.Fuzz(func(t *testing.T, uid string) {
		packed, ok := k8sresolver.PackUID(uid)
		if ok != form.MatchString(uid) {
			t.Fatalf("PackUID(%q) = %t", uid, ok)
		}
		if ok && (len(packed) != 16 || k8sresolver.UnpackUID(packed) != uid) {
			t.Errorf("UnpackUID(PackUID(%q)) = %q", uid, k8sresolver.UnpackUID(packed))
		}
	})
}
