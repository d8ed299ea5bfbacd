package k8sresolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

const (
	// watchLimit is how long a watch without a list may take to begin. Some proxies hold
	// the answer back until the first event, which is a bookmark after about a minute.
	watchLimit = 90 * time.Second
	// overdue is how much longer a watch may last than the time-out that the API server
	// was given.
	overdue = 30 * time.Second
)

var errPlain = errors.New("k8sresolver: the API server's last streamed list did not end")

// stream is a watch that always ends, even if the API server never closes it.
type stream struct {
	apiwatch.Interface
	cancel context.CancelFunc
}

// open opens a watch. It gives up when there is no answer in time.
func (w *watch) open(parent context.Context, opts metav1.ListOptions, answer time.Duration) (*stream, error) {
	asked := time.Duration(ptr.Deref(opts.TimeoutSeconds, 0)) * time.Second // the Reflector sets it
	ctx, cancel := context.WithTimeout(parent, asked+overdue)
	unanswered := time.AfterFunc(answer, cancel)
	defer unanswered.Stop()
	opened, err := w.request(&opts).Watch(ctx)
	if err != nil {
		if ctx.Err() != nil && parent.Err() == nil {
			err = noAnswer(answer)
		}
		cancel()
		return nil, err
	}
	return &stream{opened, cancel}, nil
}

func (s *stream) Stop() {
	s.Interface.Stop()
	s.cancel()
}

// streamedList is a watch that begins with a list. client-go waits for the end of the
// list for as long as the watch is open, and asks again at once when the watch ends
// before; here both end in an error, which makes it ask for a plain list.
type streamedList struct {
	*stream
	unended func() // told when the list stands still
	events  chan apiwatch.Event
	stopped chan struct{}
	once    sync.Once
}

func newStreamedList(s *stream, unended func()) *streamedList {
	l := &streamedList{stream: s, unended: unended, events: make(chan apiwatch.Event), stopped: make(chan struct{})}
	go l.run()
	return l
}

func (l *streamedList) ResultChan() <-chan apiwatch.Event { return l.events }

func (l *streamedList) Stop() {
	l.once.Do(func() { close(l.stopped) })
	l.stream.Stop()
}

func (l *streamedList) run() {
	defer close(l.events)
	idle := time.NewTimer(stallLimit)
	defer idle.Stop()
	for ended := false; ; {
		select {
		case <-l.stopped:
			return
		case <-idle.C:
			l.unended()
			l.giveUp(fmt.Sprintf("neither a slice nor its end arrived within %v", stallLimit))
			return
		case event, open := <-l.Interface.ResultChan():
			if !open {
				if !ended {
					l.giveUp("the watch was closed") // a lost connection looks the same
				}
				return
			}
			ended = ended || isListEnd(event)
			added := event.Type == apiwatch.Added // other events are changes, which may never end
			l.pass(event)
			switch {
			case ended:
				idle.Stop() // silence means that nothing changes
			case added:
				idle.Reset(stallLimit)
			}
		}
	}
}

func (l *streamedList) pass(event apiwatch.Event) {
	select {
	case l.events <- event:
	case <-l.stopped:
	}
}

func (l *streamedList) giveUp(why string) {
	l.pass(apiwatch.Event{Type: apiwatch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Message: "k8sresolver: the streamed list has not ended: " + why,
	}})
}

func isListEnd(event apiwatch.Event) bool {
	slice, ok := event.Object.(*discoveryv1.EndpointSlice)
	return ok && event.Type == apiwatch.Bookmark && slice.Annotations[metav1.InitialEventsAnnotationKey] == "true"
}
