package loadgen

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	// streamBacklog is how many messages may wait on a stream for their answers.
	streamBacklog = 1024
	// The pauses before a stream is opened again after one that nobody answered.
	shortestPause, longestPause = 50 * time.Millisecond, time.Second
)

var (
	errNotTaken    = status.Error(codes.DeadlineExceeded, "not sent: no stream took the message within --timeout")
	errNotAnswered = status.Error(codes.DeadlineExceeded, "the stream brought no answer to the message within --timeout")
	errEndedEarly  = status.Error(codes.Unavailable, "the server ended the stream before it answered the message")
	errUnasked     = status.Error(codes.Internal, "the server sent more answers than it got messages")
)

// message is a call that waits for its answer; it holds one.
type message chan answer

// streamer makes calls as messages of one stream. When a stream ends, it opens the next.
type streamer struct {
	cfg    *Config
	stub   echopb.EchoServiceClient
	tally  *tally
	queue  chan message
	stop   chan struct{}
	done   chan struct{}
	ctx    context.Context // of all its streams, which outlive calls
	cancel context.CancelFunc
}

func newStreamer(conn *grpc.ClientConn, cfg *Config, t *tally) *streamer {
	s := &streamer{
		cfg: cfg, stub: echopb.NewEchoServiceClient(conn), tally: t,
		queue: make(chan message), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

// call makes one call. It waits for a stream, as a call of its own would for a connection.
func (s *streamer) call() answer {
	m := make(message, 1)
	late := time.NewTimer(s.cfg.Timeout)
	defer late.Stop()
	select {
	case s.queue <- m:
	case <-late.C:
		return answer{err: errNotTaken}
	}
	select {
	case a := <-m:
		return a
	case <-late.C:
		return answer{err: errNotAnswered}
	}
}

// close ends the stream after the last call. The server has the time of a call to end it too.
func (s *streamer) close() {
	close(s.stop)
	late := time.AfterFunc(s.cfg.Timeout, s.cancel)
	<-s.done
	late.Stop()
	s.cancel()
}

func (s *streamer) run() {
	defer close(s.done)
	pause := shortestPause
	for !s.stopped() {
		answered, err := s.carry()
		if answered > 0 {
			pause = shortestPause
			continue
		}
		s.refuse(err, pause)
		pause = min(2*pause, longestPause)
	}
}

func (s *streamer) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// refuse fails calls until the pause is over.
func (s *streamer) refuse(err error, pause time.Duration) {
	over := time.NewTimer(pause)
	defer over.Stop()
	for {
		select {
		case m := <-s.queue:
			m <- answer{err: err}
		case <-over.C:
			return
		case <-s.stop:
			return
		}
	}
}

// carry opens a stream and sends messages on it until it ends. It returns how many were
// answered and what the others failed with.
func (s *streamer) carry() (answered int64, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stream, err := s.stub.EchoStream(ctx)
	if err != nil {
		return 0, err
	}
	end := &calllog.StreamEnd{Opened: time.Now()}
	waiting, ended := make(chan message, streamBacklog), make(chan struct{})
	go func() {
		defer close(ended)
		err = s.receive(stream, waiting, end)
	}()
	s.send(stream, waiting, ended)
	<-ended
	end.Header, end.Code = at(time.Now()), status.Code(err).String()
	if errors.Is(err, io.EOF) {
		end.Code, err = codes.OK.String(), errEndedEarly
	} else {
		end.Error = status.Convert(err).Message()
	}
	if end.Calls > 0 {
		s.tally.streamEnded(end)
	}
	close(waiting)
	for m := range waiting {
		m <- answer{err: err}
	}
	return end.Calls, err
}

// send sends what is queued. What ends the stream before is the receiver's to say.
func (s *streamer) send(stream grpc.ClientStream, waiting chan<- message, ended <-chan struct{}) {
	request := &echopb.EchoRequest{Message: s.cfg.Message}
	for {
		select {
		case m := <-s.queue:
			select {
			case waiting <- m: // before it is sent: its answer may come at once
				_ = stream.SendMsg(request)
			case <-ended:
				m <- answer{err: errEndedEarly}
				return
			}
		case <-ended:
			return
		case <-s.stop:
			_ = stream.CloseSend()
			return
		}
	}
}

// receive gives the answers, which come in order, to who waits for them.
func (s *streamer) receive(stream grpc.BidiStreamingClient[echopb.EchoRequest, echopb.EchoResponse], waiting <-chan message, end *calllog.StreamEnd) error {
	for {
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		if end.Calls == 0 {
			var from peer.Peer
			if p, ok := peer.FromContext(stream.Context()); ok {
				from = *p
			}
			end.Server = serverName(reply, &from)
		}
		select {
		case m := <-waiting:
			end.Calls++
			if s.cfg.Unattributed {
				m <- answer{}
			} else {
				m <- answer{server: end.Server, reply: reply}
			}
		default:
			return errUnasked
		}
	}
}

// streamEnded writes the end of a stream.
func (t *tally) streamEnded(end *calllog.StreamEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events <- event{line: end}
}
