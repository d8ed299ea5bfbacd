package echo

// Identity says who a server is. Kubernetes tells it through the Downward API.
type Identity struct {
	Pod, Node, Zone, Namespace, IP string // empty outside of Kubernetes
	Host                           string // the machine's or container's host name
	Version                        string // of the program
}

// IdentityFrom reads an identity from environment variables.
func IdentityFrom(getenv func(string) string, host, version string) Identity {
	return Identity{
		Pod:       getenv("POD_NAME"),
		Node:      getenv("NODE_NAME"),
		Zone:      getenv("POD_ZONE"),
		Namespace: getenv("POD_NAMESPACE"),
		IP:        getenv("POD_IP"),
		Host:      host,
		Version:   version,
	}
}

// Name returns "pod@node", or the host name where either is unknown.
func (id Identity) Name() string {
	if id.Pod == "" || id.Node == "" {
		return id.Host
	}
	return id.Pod + "@" + id.Node
}
