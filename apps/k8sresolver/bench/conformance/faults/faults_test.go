package faults_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
)

// echo starts a server that sends back what it receives, behind a proxy.
func echo(t *testing.T) *faults.Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	p, err := faults.Start(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// dial returns a connection through the proxy that has echoed once.
func dial(t *testing.T, p *faults.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := ping(conn, 5*time.Second); err != nil {
		t.Fatalf("the first echo: %v", err)
	}
	return conn
}

// ping sends a byte and waits for its echo.
func ping(conn net.Conn, limit time.Duration) error {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// Tests what a client sees of each fault on a connection that it has, and that a new
// one works once the fault is mended.
func TestProxy(t *testing.T) {
	timeout := func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
	closed := func(err error) bool {
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	tests := []struct {
		name string
		fail func(*faults.Proxy) (func() error, error)
		want func(error) bool
	}{
		{name: "cut", fail: func(p *faults.Proxy) (func() error, error) { return p.Cut(), nil }, want: closed},
		{name: "black_hole", fail: (*faults.Proxy).BlackHole, want: timeout},
		{name: "reset", fail: (*faults.Proxy).Reset, want: closed},
		{name: "half_close", fail: (*faults.Proxy).HalfClose, want: timeout},
		{
			name: "slow",
			fail: func(p *faults.Proxy) (func() error, error) { return p.Slow(time.Minute, 1) },
			want: timeout,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := echo(t)
			conn := dial(t, p)
			mend, err := test.fail(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := ping(conn, 300*time.Millisecond); !test.want(err) {
				t.Errorf("the connection gives %v", err)
			}
			if err := mend(); err != nil {
				t.Fatal(err)
			}
			dial(t, p)
		})
	}
}
