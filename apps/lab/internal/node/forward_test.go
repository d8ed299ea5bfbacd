//go:build linux

package node_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

func TestForward(t *testing.T) {
	needRoot(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	spec := newSpec(t.TempDir(), t.TempDir(), node.Process{
		Name: "echo", Args: []string{filepath.Join("/opt/test", filepath.Base(exe)), echoArg},
	})
	spec.Binds["/opt/test"] = filepath.Dir(exe)
	spec.Forward = "127.0.0.1:7"
	n := start(t, spec, node.Options{Listener: ln.(*net.TCPListener)})
	wantEvent(t, n, "echo", node.Started)
	// Its first line tells that it listens.
	log, err := os.Open(filepath.Join(spec.Binds["/var/log/lab"], "echo.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	deadline, tick := time.After(patience), time.Tick(5*time.Millisecond)
	for line := ""; line == ""; line, _ = bufio.NewReader(log).ReadString('\n') {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("the echo server does not listen")
		}
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "over and back")
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); string(got) != "over and back" || err != nil {
		t.Errorf("the node answers %q, %v, want what was sent", got, err)
	}
}

// echo answers connections, one after the other, with what they send.
func echo() {
	ln, err := net.Listen("tcp", "127.0.0.1:7")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	for {
		conn, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}
}

func loopbackUp(t *testing.T, n *node.Node) {
	t.Helper()
	ns, err := netns.GetFromPid(n.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}
