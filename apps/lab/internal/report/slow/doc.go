// Package slow measures what one slow server of several costs under each of
// gRPC's balancers. It needs no cluster: servers and clients are those of the
// programs, but all in this process, and they talk over loopback. So it shows
// how balancers choose, and no network and no Kubernetes.
package slow
