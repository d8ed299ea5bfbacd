package k8sresolver_test

import (
	"context"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
)

// newInMemoryAPI returns an API server that is reached without a network, so that
// the tests here run in simulated time.
func newInMemoryAPI() (*apiServer, *rest.Config) {
	api := newAPIServer()
	return api, &rest.Config{Host: "http://api", Transport: inMemory{api}}
}

// inMemory is a transport to a handler that uses no network, which a synctest
// bubble needs.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	body, pipe := io.Pipe()
	w := &pipeWriter{header: make(http.Header), pipe: pipe, head: make(chan int, 1)}
	go func() {
		defer func() {
			if recover() != nil {
				_ = pipe.CloseWithError(io.ErrUnexpectedEOF)
			}
			_ = pipe.CloseWithError(r.Context().Err()) // the end, unless the client has gone
		}()
		m.handler.ServeHTTP(w, r)
	}()
	// The transport's contract: the body ends with the request's context.
	context.AfterFunc(r.Context(), func() { _ = pipe.CloseWithError(r.Context().Err()) })
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case code := <-w.head:
		return &http.Response{
			Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/2.0", ProtoMajor: 2,
			Header: w.header, Body: body, Request: r, ContentLength: -1,
		}, nil
	}
}

type pipeWriter struct {
	header http.Header
	pipe   *io.PipeWriter
	head   chan int
}

func (w *pipeWriter) Header() http.Header         { return w.header }
func (w *pipeWriter) WriteHeader(code int)        { w.head <- code }
func (w *pipeWriter) Write(b []byte) (int, error) { return w.pipe.Write(b) }
func (w *pipeWriter) FlushError() error           { return nil }
