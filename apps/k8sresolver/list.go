package k8sresolver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// stallLimit is how long a list may bring no bytes after it began, and how long a
	// streamed list may take to begin. A plain list follows it.
	stallLimit = 5 * time.Second
	// answerLimit is how long a plain list may take to begin. A busy API server makes
	// requests wait for up to 15 s.
	answerLimit = 20 * time.Second
	// listLimit is how long a whole plain list may take. API servers end a list after a
	// minute.
	listLimit = 5 * time.Minute
	// plainFor is how long the client asks for plain lists after a streamed one stood
	// still. Another try costs stallLimit without news, and a plain list costs the API
	// server memory. An hour keeps both rare, and finds out when a proxy is repaired.
	plainFor = time.Hour
)

// plainLists remembers that an API server, or a proxy before it, does not end streamed
// lists.
type plainLists struct{ until atomic.Pointer[time.Time] }

func (p *plainLists) begin() {
	until := time.Now().Add(plainFor)
	p.until.Store(&until)
}

func (p *plainLists) on() bool {
	until := p.until.Load()
	return until != nil && time.Now().Before(*until)
}

// readList returns a whole list, or why it did not arrive in time.
func (w *watch) readList(parent context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(parent, listLimit)
	defer cancel()
	idle := time.AfterFunc(answerLimit, cancel)
	defer idle.Stop()

	body, err := w.request(&opts).Stream(ctx)
	if err != nil {
		if ctx.Err() != nil && parent.Err() == nil {
			err = noAnswer(answerLimit)
		}
		return nil, err
	}
	defer func() { _ = body.Close() }()
	idle.Reset(stallLimit)
	content, err := io.ReadAll(progress{body, func() { idle.Reset(stallLimit) }})
	switch {
	case err == nil:
		return w.decode(content)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("%d bytes of the API server's answer have arrived within %v, but not its end", len(content), listLimit)
	case ctx.Err() != nil && parent.Err() == nil:
		err = fmt.Errorf("the API server's answer stopped after %d bytes, and nothing more came within %v", len(content), stallLimit)
	default:
		err = fmt.Errorf("reading the API server's answer: %w", err)
	}
	return nil, err
}

// decode recognizes the format by the content, as rest.Request does by the header.
func (w *watch) decode(content []byte) (runtime.Object, error) {
	obj, _, err := w.client.decoder.Decode(content, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decoding the API server's answer: %w", err)
	}
	if _, ok := obj.(*discoveryv1.EndpointSliceList); !ok {
		return nil, fmt.Errorf("the API server answered with a %T, expected an EndpointSliceList", obj)
	}
	return obj, nil
}

// progress tells when bytes arrive.
type progress struct {
	io.Reader
	made func()
}

func (p progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 {
		p.made()
	}
	return n, err
}

// noAnswer says that the API server has neither answered nor refused in that time.
type noAnswer time.Duration

func (n noAnswer) Error() string {
	return fmt.Sprintf("no answer from the API server within %v", time.Duration(n))
}
