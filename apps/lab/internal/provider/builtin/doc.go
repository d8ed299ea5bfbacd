// Package builtin is a Kubernetes cluster on one Linux machine, without Docker
// and without downloaded binaries: kubeadm, kubelet, containerd, kube-proxy,
// etcd and CoreDNS, built from their Go modules, on nodes of package node.
//
// Everything that it keeps on the host lies in the lab's cache directory:
//
//	components/<name>-<hash>/  programs, by the hash of what they were built from
//	clusters/<checkout>/       one cluster a checkout: state, kubeconfig, logs
package builtin
