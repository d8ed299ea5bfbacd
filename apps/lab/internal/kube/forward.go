package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward forwards a free port of the loopback to a pod's, as kubectl
// port-forward does, until stop is called.
func (c *Client) Forward(ctx context.Context, namespace, pod string, port int) (local int, stop func(), err error) {
	url := c.Typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return 0, nil, fmt.Errorf("kube: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, done := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		[]string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ctx.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return 0, nil, fmt.Errorf("kube: %w", err)
	}
	go func() {
		done <- forwarder.ForwardPorts()
		close(done)
	}()
	stop = func() {
		cancel()
		for range done { // its end is waited for
		}
	}
	select {
	case err := <-done:
		cancel()
		return 0, nil, fmt.Errorf("forwarding to port %d of %s: %w", port, pod, err)
	case <-ready:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		stop()
		return 0, nil, fmt.Errorf("kube: %w", err)
	}
	return int(ports[0].Local), stop, nil
}
