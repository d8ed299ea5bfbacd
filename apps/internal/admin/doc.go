// Package admin serves gRPC's own view of a process, channelz, and the services that the
// process adds, on a loopback port: tools such as grpcdebug reach
// it by kubectl port-forward, neighbours in the network do not.
package admin
