package echo

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// EchoStream answers each message as Echo does, and counts it as a call. A graceful stop
// waits for streams, which clients do not end: the stream ends between two messages once
// the server stops.
func (s *service) EchoStream(stream grpc.BidiStreamingServer[echopb.EchoRequest, echopb.EchoResponse]) error {
	requests, ended := make(chan *echopb.EchoRequest), make(chan error, 1)
	go func() {
		for {
			req, err := stream.Recv() // fails when the handler has returned
			if err != nil {
				ended <- err
				return
			}
			select {
			case requests <- req:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	for {
		select {
		case req := <-requests:
			reply, err := s.Echo(stream.Context(), req)
			if err == nil {
				err = stream.Send(reply)
			}
			if err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil // the client has sent its last message
			}
			return err
		case <-s.stopping:
			return status.Error(codes.Unavailable, "the server stops: open the stream again, on another server")
		}
	}
}
