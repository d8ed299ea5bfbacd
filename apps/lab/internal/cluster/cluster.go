// Package cluster is the one interface between the lab and the Kubernetes that
// it measures. The packages in provider/ implement it.
package cluster

import (
	"context"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Cluster is a running Kubernetes.
type Cluster interface {
	// Kind names the implementation, such as "builtin".
	Kind() string
	// RESTConfig returns a fresh configuration: of an administrator on a cluster
	// that the lab booted, of the user's context on any other.
	RESTConfig() (*rest.Config, error)
	// Kubeconfig returns the path of a kubeconfig file for kubectl.
	Kubeconfig() string
	// LoadImages puts images from docker-save archives onto every node, or into
	// the registry that the nodes pull them from.
	LoadImages(ctx context.Context, archives ...string) error
	// AuditLog opens the API server's audit log, one JSON event a line, at its
	// beginning. It returns errors.ErrUnsupported where the log is out of reach.
	AuditLog(ctx context.Context) (io.ReadCloser, error)
	// Usage reads what the running containers of pods have used, from the
	// kernel's own counters, keyed by container ID: that of
	// pod.status.containerStatuses[].containerID without "containerd://". A
	// pod's sandbox (pause) counts as one of its containers. Pods and containers
	// that are not there, no longer or not yet, are left out without an error.
	// A static pod has the UID of its annotation kubernetes.io/config.hash.
	// It returns an error that wraps errors.ErrUnsupported where the counters
	// are out of reach.
	Usage(ctx context.Context, pods ...types.UID) (map[string]Usage, error)
	// Kill ends the processes of a container as a crash does: no signal that they
	// could heed, and the kubelet sees it only afterwards. It returns an error that
	// wraps errors.ErrUnsupported where processes are out of reach.
	Kill(ctx context.Context, pod types.UID, container string) error
	// CanKill says without doing anything why Kill is unsupported; nil if it is not.
	CanKill() error
	// Break brings about a fault and returns when it is in force. It lasts until mend
	// is called or this program ends, however it ends. Mend returns when the network is
	// whole again, and can be called more than once. Its error wraps ErrEnded where the
	// fault had ended before. The error of Break wraps errors.ErrUnsupported where the nodes are
	// out of reach, and is of another kind for a node that is no worker.
	Break(ctx context.Context, f Fault) (mend func(context.Context) error, err error)
	// CanBreak says without doing anything why such faults are unsupported; nil if
	// they are not.
	CanBreak(kind FaultKind) error
	// Versions names what the cluster is made of, program to version.
	Versions() map[string]string
	// Architectures lists those of the nodes, such as arm64, sorted, and whether they
	// are known: else they are this machine's.
	Architectures(ctx context.Context) (all []string, known bool)
	// DNS says how far the cluster's DNS trails its endpoints.
	DNS(ctx context.Context) DNS
	// Status says where the cluster and what it is made of are found.
	Status() Status
}

// Status is what people and scripts look for in a cluster.
type Status struct {
	Kind       string `json:"kind"`
	API        string `json:"api"`
	Kubeconfig string `json:"kubeconfig"`
	// Logs is a directory of the host with the logs of the nodes' programs; empty
	// where the nodes keep them.
	Logs     string            `json:"logs,omitempty"`
	Nodes    []NodeStatus      `json:"nodes"`
	Versions map[string]string `json:"versions"`
}

// NodeStatus says where a node is found: Pid is its first process, Container its
// name in Docker.
type NodeStatus struct {
	Name      string `json:"name"`
	Pid       int    `json:"pid,omitempty"`
	Container string `json:"container,omitempty"`
	// ControlPlane says that the node carries the control plane.
	ControlPlane bool `json:"controlPlane,omitempty"`
}

// DNS holds what decides how far a cluster's DNS trails its endpoints.
type DNS struct {
	// TTL is that of the records, Cache how long the cluster's DNS keeps an answer.
	TTL, Cache time.Duration
	// Assumed says that the cluster did not tell, so that both are what is usual.
	Assumed bool
}

// MaxStaleness is how long the DNS can give an old answer.
func (d DNS) MaxStaleness() time.Duration { return d.TTL + d.Cache }

// UsualDNS is what most clusters configure: records of 30 s, cached for 30 s.
var UsualDNS = DNS{TTL: 30 * time.Second, Cache: 30 * time.Second, Assumed: true}

// Usage is what one container has used, at one moment.
type Usage struct {
	// Pod is the UID of the container's pod.
	Pod types.UID
	// Time is when CPU was read.
	Time time.Time
	// CPU is the processor time of all its processes, ended ones included, since
	// the container's start.
	CPU time.Duration
	// WorkingSet is the memory in bytes that cannot be reclaimed at once, as the
	// kubelet counts it: all in use but the inactive part of the page cache.
	WorkingSet int64
	// Commands are the names of its processes (/proc/PID/comm, at most 15 bytes),
	// one a process, sorted.
	Commands []string
}
