package k8sresolver

import (
	"slices"
	"strings"
)

// topology is where a client or a pod runs; what is not known is empty.
type topology struct {
	node, zone string
}

// nearest returns the endpoints that are hinted for this node, else for this zone,
// else all. Hints count only if every endpoint has one (KEP-2433, KEP-3015): if some
// have none, a controller is adding or removing them. They also count only if one of
// them names this node or zone. The list, of ready endpoints, may be changed.
func (t topology) nearest(list []address) []address {
	forNodes := func(at hintedTopology) string { return at.forNodes }
	forZones := func(at hintedTopology) string { return at.forZones }
	if hintedFor(list, t.node, forNodes) {
		return slices.DeleteFunc(list, func(a address) bool { return !names(forNodes(a.endpoint().topology.Value()), t.node) })
	}
	if hintedFor(list, t.zone, forZones) {
		return slices.DeleteFunc(list, func(a address) bool { return !names(forZones(a.endpoint().topology.Value()), t.zone) })
	}
	return list
}

func hintedFor(list []address, name string, hint func(hintedTopology) string) bool {
	if name == "" {
		return false
	}
	one := false
	for _, a := range list {
		to := hint(a.endpoint().topology.Value())
		if to == "" {
			return false
		}
		one = one || names(to, name)
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
