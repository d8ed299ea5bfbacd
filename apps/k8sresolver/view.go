package k8sresolver

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"weak"

	"google.golang.org/grpc/resolver"
)

// viewKey is what makes channels to one Service see it differently.
type viewKey struct {
	port portRef
	here locality
}

// view is the endpoints of a Service as some of its channels see it. It is not
// changed once it is made.
type view struct {
	version uint64  // of the store that it was made from
	sum     digest  // of the entries: equal sums give gRPC equal states
	entries []entry // sorted
	tally   tally
}

type digest [sha256.Size]byte

// empty is the digest of no endpoints, which is also what a new channel has.
var empty = sum(nil)

// endpoints returns how many endpoints gRPC gets.
func (v *view) endpoints() int {
	n := 0
	for _, e := range v.entries {
		n += int(bit(!e.same))
	}
	return n
}

// views makes each view once for all channels that need it. It does not keep what
// they have all used: channels remember a digest.
type views struct {
	mu    sync.Mutex
	byKey map[viewKey]weak.Pointer[view] // mu; the latest
}

// of returns the view of a snapshot, or of a later one.
func (v *views) of(s snapshot, key viewKey) *view {
	v.mu.Lock()
	defer v.mu.Unlock()
	if latest := v.byKey[key].Value(); latest != nil && latest.version >= s.version {
		return latest
	}
	entries, t := join(s.slices, key.port, key.here)
	made := &view{version: s.version, sum: sum(entries), entries: entries, tally: t}
	if v.byKey == nil {
		v.byKey = make(map[viewKey]weak.Pointer[view])
	}
	v.byKey[key] = weak.Make(made)
	return made
}

// sum digests all that gRPC gets. A channel keeps it in place of what it published.
func sum(entries []entry) digest {
	hash := sha256.New()
	var line []byte
	text := func(s string) {
		line = binary.AppendUvarint(line, uint64(len(s)))
		line = append(line, s...)
	}
	for _, e := range entries {
		p := e.get()
		addr := p.addr.As16()
		line = append(line[:0], addr[:]...)
		line = binary.BigEndian.AppendUint16(line, e.port)
		line = append(line, bit(e.same)|bit(p.is(terminating))<<1|bit(p.is(packedUID))<<2)
		at := p.place.Value()
		for _, s := range []string{e.slice.podName(p), e.slice.rawUID(p), at.node, at.zone} {
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

// state converts the entries for gRPC. What can change while the pod lives is in
// Endpoint.Attributes: in Address.Attributes it would re-dial.
func state(entries []entry) resolver.State {
	s := resolver.State{
		Endpoints: make([]resolver.Endpoint, 0, len(entries)),
		// Balancers made with balancer/base read nothing else.
		Addresses: make([]resolver.Address, 0, len(entries)),
	}
	// One array for the addresses of all endpoints; each gets a part that cannot
	// grow into the next one's.
	room := make([]resolver.Address, 0, len(entries))
	for _, e := range entries {
		address := resolver.Address{Addr: e.addrPort().String()}
		s.Addresses = append(s.Addresses, address)
		room = append(room, address)
		end := len(room)
		if e.same {
			last := &s.Endpoints[len(s.Endpoints)-1]
			last.Addresses = room[end-1-len(last.Addresses) : end : end]
			continue
		}
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{
			Addresses:  room[end-1 : end : end],
			Attributes: e.slice.info(e.get()).attributes(),
		})
	}
	return s
}
