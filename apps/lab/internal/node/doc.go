// Package node runs one node of the built-in cluster: a process tree in network,
// mount, UTS, IPC and PID namespaces of its own, on an overlay of the host's
// root file system whose upper layer is a tmpfs inside those namespaces.
//
// Killing the tree's first process ends every process of the node, and with the
// last of them the kernel drops its mounts, its links and its data. On the host
// an empty directory and empty cgroups remain.
//
// The lab starts itself again as the node's first process: a program that calls
// [Start] must call [Main] first thing.
package node
