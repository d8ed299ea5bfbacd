// Package echo is the server side of EchoService: the service that says who
// answered, the gRPC server around it, and the drain that ends it without
// failing a call.
package echo
