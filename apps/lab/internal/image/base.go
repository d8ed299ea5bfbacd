package image

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// serveBase serves an empty image for an architecture from a registry on the loopback, because ko
// takes its base image only from a registry and this machine may reach none.
// The reference holds until stop is called.
func serveBase(ctx context.Context, arch string) (ref string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("image: serving the empty base image: %w", err)
	}
	server := &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // always ErrServerClosed, by stop
	}()
	stop = func() {
		_ = server.Close()
		<-done
	}
	tag, err := name.NewTag(listener.Addr().String() + "/empty:base")
	if err == nil {
		err = remote.Write(tag, emptyBase(NonRoot, arch), remote.WithContext(ctx), remote.WithTransport(&http.Transport{Proxy: nil, DisableKeepAlives: true}))
	}
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("image: serving the empty base image: %w", err)
	}
	return tag.Name(), stop, nil
}
