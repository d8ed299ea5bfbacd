package endurance_test

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// roleVariable names what a child process does in place of the tests. What is measured
// and what it is measured with are processes of their own, so that heap and CPU time
// can be told apart.
const roleVariable = "ENDURANCE_ROLE"

const (
	roleStandIn  = "StandIn"  // the scripted API server
	roleChannels = "Channels" // a program with channels
)

// play serves a role to the parent until that closes the standard input.
func play(role string) error {
	server := rpc.NewServer()
	var receiver any
	switch role {
	case roleStandIn:
		s := newStandIn()
		defer s.close()
		receiver = s
	case roleChannels:
		c := &channels{}
		defer c.close()
		receiver = c
	default:
		return fmt.Errorf("unknown role %q", role)
	}
	if err := server.RegisterName(role, receiver); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(pipes{os.Stdin, os.Stdout}))
	return nil
}

// pipes is a connection to the other process.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// child is a process that plays a role.
type child struct {
	t    *testing.T
	role string
	rpc  *rpc.Client
}

func spawn(t *testing.T, role string) *child {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := &child{t: t, role: role, rpc: jsonrpc.NewClient(pipes{out, in})}
	t.Cleanup(func() {
		_ = c.rpc.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %s: %v", role, err)
		}
	})
	return c
}

// do has the child run a method of its role.
func (c *child) do(method string, in, out any) {
	c.t.Helper()
	if err := c.rpc.Call(c.role+"."+method, in, out); err != nil {
		c.t.Fatalf("%s.%s: %v", c.role, method, err)
	}
}

// None is what methods of roles take or return when there is nothing to say.
type None struct{}

// heap returns what is reachable, in bytes.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // strings that are shared go two collections after their users
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
