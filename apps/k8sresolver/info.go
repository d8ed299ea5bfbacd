package k8sresolver

import (
	"fmt"

	"google.golang.org/grpc/resolver"
)

// Info is what the EndpointSlice says about the pod behind an endpoint. A field that it
// does not have is empty.
type Info struct {
	Pod  string // name of the pod
	UID  string // uid of the pod
	Node string // name of the node that the pod runs on
	Zone string // zone of this node
	// Terminating is set when the pod is being deleted and is used because no
	// endpoint is ready.
	Terminating bool
}

func (i Info) String() string {
	return fmt.Sprintf("pod=%s node=%s zone=%s terminating=%t", i.Pod, i.Node, i.Zone, i.Terminating)
}

type infoKey struct{}

// InfoFrom returns what is known about the pod behind an endpoint, for use in
// balancers. It reports false for endpoints of other resolvers.
func InfoFrom(e resolver.Endpoint) (Info, bool) {
	ref, ok := e.Attributes.Value(infoKey{}).(endpointRef)
	if !ok {
		return Info{}, false
	}
	return ref.info(), true
}

// endpointRef is an endpoint's attribute. InfoFrom makes an Info of it: few
// balancers ask, and there can be thousands of endpoints.
type endpointRef struct {
	slice *endpointSlice
	index int32 // in the slice
}

func (r endpointRef) info() Info { return r.slice.info(&r.slice.endpoints[r.index]) }

// String is what channelz and gRPC's log show.
func (r endpointRef) String() string { return r.info().String() }

// Equal reports whether o says the same about a pod. gRPC compares endpoints with it.
func (r endpointRef) Equal(o any) bool {
	other, ok := o.(endpointRef)
	return ok && r.info() == other.info()
}
