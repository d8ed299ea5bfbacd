package k8sresolver

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
	"weak"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// viewKey is what makes channels to one Service see it differently.
type viewKey struct {
	port     portRef
	topology topology
}

// view is the endpoints of a Service as some of its channels see it. It is not
// changed once it is made.
type view struct {
	version   uint64    // of the store that it was made from
	sum       digest    // of the addresses: equal sums give gRPC equal states
	addresses []address // sorted
	tally     tally

	once  sync.Once
	whole resolver.State // made of the addresses when a channel needs it
}

type digest [sha256.Size]byte

// empty is the digest of no endpoints, which is also what a new channel has.
var empty = sum(nil)

// endpoints returns how many endpoints gRPC gets.
func (v *view) endpoints() int {
	n := 0
	for _, a := range v.addresses {
		n += int(bit(!a.same))
	}
	return n
}

// views makes each view once for all channels that need it. It does not keep a view
// that all of them have used: channels remember a digest.
type views struct {
	mu    sync.Mutex
	byKey map[viewKey]lastView // mu
}

// lastView is what is kept of the view that was made last for a key.
type lastView struct {
	view weak.Pointer[view]
	sum  digest
}

// of returns the view of a snapshot or of a later one, and how long it took to make it:
// 0 if it was made before.
func (v *views) of(s snapshot, key viewKey) (*view, time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, ok := v.byKey[key]
	if !ok {
		last.sum = empty
	}
	if made := last.view.Value(); made != nil && made.version >= s.version {
		return made, 0
	}
	began := time.Now()
	addresses, t := join(s.slices, key.port, key.topology)
	made := &view{version: s.version, sum: sum(addresses), addresses: addresses, tally: t}
	if made.sum != last.sum {
		made.convert()
	}
	if v.byKey == nil {
		v.byKey = make(map[viewKey]lastView)
	}
	v.byKey[key] = lastView{view: weak.Make(made), sum: made.sum}
	return made, time.Since(began)
}

// sum digests all that gRPC gets. A channel keeps it in place of what it published.
func sum(addresses []address) digest {
	hash := sha256.New()
	var line []byte
	text := func(s string) {
		line = binary.AppendUvarint(line, uint64(len(s)))
		line = append(line, s...)
	}
	for _, a := range addresses {
		p := a.endpoint()
		addr := p.addr.As16()
		line = append(line[:0], addr[:]...)
		line = binary.BigEndian.AppendUint16(line, a.port)
		line = append(line, bit(a.same)|bit(p.is(terminating))<<1|bit(p.is(packedUID))<<2)
		at := p.topology.Value()
		for _, s := range []string{a.slice.podName(p), a.slice.rawUID(p), at.node, at.zone} {
			text(s)
		}
		hash.Write(line)
	}
	return digest(hash.Sum(nil))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// convert makes the state, for whom it is news.
func (v *view) convert() {
	v.once.Do(func() { v.whole = state(v.addresses) })
}

// state returns what gRPC gets. All channels share it but for the two lists, which a
// balancer may sort or shuffle.
func (v *view) state() resolver.State {
	v.convert()
	s := v.whole
	s.Endpoints, s.Addresses = slices.Clone(s.Endpoints), slices.Clone(s.Addresses)
	return s
}

// state converts the addresses for gRPC. Facts that can change while the pod lives are
// in Endpoint.Attributes: a change of Address.Attributes would close the connection.
func state(addresses []address) resolver.State {
	s := resolver.State{
		Endpoints: make([]resolver.Endpoint, 0, len(addresses)),
		// Balancers made with balancer/base read nothing else.
		Addresses: make([]resolver.Address, 0, len(addresses)),
	}
	for _, a := range addresses {
		s.Addresses = append(s.Addresses, resolver.Address{Addr: a.addrPort().String()})
		end := len(s.Addresses)
		if a.same {
			last := &s.Endpoints[len(s.Endpoints)-1]
			last.Addresses = s.Addresses[end-1-len(last.Addresses) : end : end]
			continue
		}
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{
			// A part of the one list that cannot grow into the next endpoint's.
			Addresses:  s.Addresses[end-1 : end : end],
			Attributes: attributes.New(infoKey{}, endpointRef{a.slice, a.index}),
		})
	}
	return s
}
