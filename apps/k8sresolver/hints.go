package k8sresolver

import (
	"slices"
	"strings"
)

// locality is where this process runs; what is not known is empty.
type locality struct {
	node, zone string
}

// local returns the endpoints that are hinted for this node, else for this zone,
// else all. Hints count only when every endpoint has one, since some without mean
// that they are being added or taken away (KEP-2433, KEP-3015), and only when one
// names this place. The list, of ready endpoints, may be changed.
func (l locality) local(list []entry) []entry {
	forNodes := func(at place) string { return at.forNodes }
	forZones := func(at place) string { return at.forZones }
	if hintedFor(list, l.node, forNodes) {
		return slices.DeleteFunc(list, func(e entry) bool { return !names(forNodes(e.get().place.Value()), l.node) })
	}
	if hintedFor(list, l.zone, forZones) {
		return slices.DeleteFunc(list, func(e entry) bool { return !names(forZones(e.get().place.Value()), l.zone) })
	}
	return list
}

func hintedFor(list []entry, here string, hint func(place) string) bool {
	if here == "" {
		return false
	}
	one := false
	for _, e := range list {
		to := hint(e.get().place.Value())
		if to == "" {
			return false
		}
		one = one || names(to, here)
	}
	return one
}

func names(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == name {
			return true
		}
	}
	return false
}
