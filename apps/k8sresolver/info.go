package k8sresolver

import (
	"fmt"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// Info is what the EndpointSlice tells about the pod behind an endpoint. Fields
// that it does not tell are empty.
type Info struct {
	Pod  string // name of the pod
	UID  string // uid of the pod
	Node string // name of the node that the pod runs on
	Zone string // zone of this node
	// Terminating is set when the pod is being deleted and is used because no
	// endpoint is ready.
	Terminating bool
}

// String is what channelz and gRPC's log show.
func (i Info) String() string {
	return fmt.Sprintf("pod=%s node=%s zone=%s terminating=%t", i.Pod, i.Node, i.Zone, i.Terminating)
}

// Equal reports whether o is an Info that tells the same. gRPC compares endpoints
// with it.
func (i Info) Equal(o any) bool {
	other, ok := o.(Info)
	return ok && i == other
}

type infoKey struct{}

// InfoFrom returns what is known about the pod behind an endpoint, for use in
// balancers. It reports false for endpoints of other resolvers.
func InfoFrom(e resolver.Endpoint) (Info, bool) {
	info, ok := e.Attributes.Value(infoKey{}).(Info)
	return info, ok
}

func (i Info) attributes() *attributes.Attributes {
	return attributes.New(infoKey{}, i)
}
