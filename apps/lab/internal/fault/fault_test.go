//go:build linux

package fault_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/fault"
)

// labArg makes the test's binary a lab that breaks a node and waits to be killed.
const labArg = "lab"

const (
	patience = 20 * time.Second       // for what must come
	silence  = 400 * time.Millisecond // in which an answer would have come

	podIP, apiIP = "10.244.1.2", "172.30.0.1"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == labArg {
		_, err := fault.Break(context.Background(), cluster.Fault{Kind: cluster.FaultKind(os.Args[2])}, network, []fault.Node{nodeAt(os.NewFile(3, "node"))})
		fmt.Println(err)
		select {}
	}
	goleak.VerifyTestMain(m)
}

var network = fault.Network{
	Pods: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}, API: []netip.AddrPort{netip.MustParseAddrPort(apiIP + ":6443")}, Uplink: "eth0",
}

// nodeAt is a worker whose network namespace a file is.
func nodeAt(namespace *os.File) fault.Node {
	return fault.Node{NodeStatus: cluster.NodeStatus{Name: "worker"}, Command: func(args ...string) *exec.Cmd {
		cmd := exec.Command("nsenter", append([]string{"--net=/proc/self/fd/3"}, args...)...)
		cmd.ExtraFiles = []*os.File{namespace}
		return cmd
	}}
}

// scene is a pod on a node, and what it calls on another machine.
type scene struct {
	t              *testing.T
	pod, node, api netns.NsHandle
}

// newScene connects three network namespaces: pod - node - api.
func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	s := &scene{t: t}
	for _, ns := range []*netns.NsHandle{&s.pod, &s.node, &s.api} {
		thread(t, func() (err error) {
			*ns, err = netns.New()
			return err
		})
		t.Cleanup(func() { _ = ns.Close() })
	}
	s.link(s.node, "veth-pod", "10.244.1.1/24", s.pod, podIP+"/24")
	s.link(s.node, "eth0", "172.30.0.2/24", s.api, apiIP+"/24")
	for ns, via := range map[netns.NsHandle]string{s.pod: "10.244.1.1", s.api: "172.30.0.2"} {
		h := s.handle(ns)
		_, all, _ := net.ParseCIDR("0.0.0.0/0")
		s.must(h.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(via)}))
		h.Close()
	}
	s.in(s.node, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	for _, port := range []int{53, 6443, 8080} {
		s.serve(port)
	}
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) handle(ns netns.NsHandle) *netlink.Handle {
	h, err := netlink.NewHandleAt(ns)
	s.must(err)
	return h
}

// file is the node's namespace.
func (s *scene) file() *os.File {
	s.t.Helper()
	fd, err := syscall.Dup(int(s.node))
	s.must(err)
	f := os.NewFile(uintptr(fd), "node")
	s.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (s *scene) link(a netns.NsHandle, name, addressA string, b netns.NsHandle, addressB string) {
	s.t.Helper()
	at, to := s.handle(a), s.handle(b)
	defer at.Close()
	defer to.Close()
	s.must(at.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "up0", PeerNamespace: netlink.NsFd(int(b))}))
	for _, end := range []struct {
		*netlink.Handle
		name, address string
	}{{at, name, addressA}, {to, "up0", addressB}} {
		link, err := end.LinkByName(end.name)
		s.must(err)
		address, err := netlink.ParseAddr(end.address)
		s.must(err)
		s.must(end.AddrAdd(link, address))
		s.must(end.LinkSetUp(link))
	}
}

// thread runs do on a thread that ends with it.
func thread(t *testing.T, do func() error) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		failed <- do()
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func (s *scene) in(ns netns.NsHandle, do func() error) {
	s.t.Helper()
	thread(s.t, func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return do()
	})
}

// serve answers at the port of the API's machine, by TCP and by UDP, with what it gets.
func (s *scene) serve(port int) {
	s.in(s.api, func() error {
		listener, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		if err != nil {
			return err
		}
		packets, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _, _ = listener.Close(), packets.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(c, c)
					_ = c.Close()
				}()
			}
		}()
		go func() {
			b := make([]byte, 16)
			for {
				n, from, err := packets.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = packets.WriteTo(b[:n], from)
			}
		}()
		return nil
	})
}

// dial opens a connection from a namespace, nil where nothing answers in that time.
func (s *scene) dial(from netns.NsHandle, protocol string, port int, within time.Duration) (c net.Conn) {
	s.t.Helper()
	s.in(from, func() error {
		c, _ = (&net.Dialer{Timeout: within}).Dial(protocol, net.JoinHostPort(apiIP, strconv.Itoa(port)))
		return nil
	})
	if c != nil {
		s.t.Cleanup(func() { _ = c.Close() })
	}
	return c
}

// answers tells whether what is sent comes back in that time.
func answers(c net.Conn, within time.Duration) bool {
	if c == nil {
		return false
	}
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte("?")); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 16))
	return err == nil
}

// A fault drops what it is about, on open connections, too, and nothing else. Mended,
// all goes on, on the same connections.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		kind cluster.FaultKind
		want string // that does not answer
	}{
		{cluster.APIAway, "API(open) API(new)"},
		{cluster.DNSAway, "DNS(udp) DNS(tcp)"},
		{cluster.LinkDown, "API(open) API(new) API(node) DNS(udp) DNS(tcp) another"},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			open := s.dial(s.pod, "tcp", 6443, patience)
			ask := func(within time.Duration) string {
				var silent []string
				for _, question := range []struct {
					name string
					conn net.Conn
				}{
					{"API(open)", open},
					{"API(new)", s.dial(s.pod, "tcp", 6443, within)},
					{"API(node)", s.dial(s.node, "tcp", 6443, within)},
					{"DNS(udp)", s.dial(s.pod, "udp", 53, within)},
					{"DNS(tcp)", s.dial(s.pod, "tcp", 53, within)},
					{"another", s.dial(s.pod, "tcp", 8080, within)},
				} {
					if !answers(question.conn, within) {
						silent = append(silent, question.name)
					}
				}
				return strings.Join(silent, " ")
			}
			if silent := ask(patience); silent != "" {
				t.Fatalf("%s do not answer before the fault", silent)
			}
			node := nodeAt(s.file())
			mend, err := fault.Break(t.Context(), cluster.Fault{Kind: test.kind, Node: "worker"}, network, []fault.Node{node})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, ask(silence)); diff != "" {
				t.Errorf("silent (-want +got):\n%s", diff)
			}
			for range 2 {
				if err := mend(t.Context()); err != nil {
					t.Errorf("mend: %v", err)
				}
			}
			if silent := ask(patience); silent != "" {
				t.Errorf("%s do not answer after it", silent)
			}
		})
	}
}

// A lab that is killed leaves no fault.
func TestLabKilled(t *testing.T) {
	s := newScene(t)
	lab := exec.Command("/proc/self/exe", labArg, string(cluster.APIAway))
	lab.ExtraFiles, lab.Stderr = []*os.File{s.file()}, os.Stderr
	said, err := lab.StdoutPipe()
	s.must(err)
	s.must(lab.Start())
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Errorf("the lab says %q, %v", line, err)
	}
	if answers(s.dial(s.pod, "tcp", 6443, silence), silence) {
		t.Error("the API server answers, want a fault")
	}
	s.must(lab.Process.Signal(syscall.SIGKILL))
	_ = lab.Wait()
	if !answers(s.dial(s.pod, "tcp", 6443, patience), patience) {
		t.Error("the API server does not answer after the lab was killed")
	}
	rules, err := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), s.node), "nft", "list", "ruleset").Output()
	if err != nil || len(rules) > 0 {
		t.Errorf("rules are left (%v):\n%s", err, rules)
	}
}

// A fault that ends by itself is told, since what was measured meanwhile proves nothing.
// One that cannot begin is told in the words of the node.
func TestBroken(t *testing.T) {
	s := newScene(t)
	node := nodeAt(s.file())
	enter := node.Command
	var nft *exec.Cmd
	node.Command = func(args ...string) *exec.Cmd {
		nft = enter(args...)
		return nft
	}
	mend, err := fault.Break(t.Context(), cluster.Fault{Kind: cluster.DNSAway}, network, []fault.Node{node})
	s.must(err)
	if session, err := unix.Getsid(nft.Process.Pid); err != nil || session != nft.Process.Pid {
		t.Errorf("nft is in session %d (%v), want one of its own, which no terminal interrupts", session, err)
	}
	s.must(nft.Process.Kill())
	if !answers(s.dial(s.pod, "tcp", 53, patience), patience) { // it sends again what is lost
		t.Error("DNS does not answer after nft was killed")
	}
	wantEnded := func() {
		t.Helper()
		if err := mend(t.Context()); !errors.Is(err, cluster.ErrEnded) || !strings.Contains(err.Error(), "worker") {
			t.Errorf("mend: %v, want that it ended before", err)
		}
	}
	wantEnded()
	mend, err = fault.Break(t.Context(), cluster.Fault{Kind: cluster.DNSAway}, network, []fault.Node{node})
	s.must(err)
	s.must(nft.Process.Kill())
	wantEnded() // also where the lab has not seen the end
	for _, test := range []struct{ name, script, want string }{
		{"refused", "echo 'Error: Operation not supported'; cat", "on worker: Error: Operation not supported"},
		{"ended", "echo 'nft: not found'", "nft ended: nft: not found"},
	} {
		node.Command = func(...string) *exec.Cmd { return exec.Command("sh", "-c", test.script) }
		if _, err := fault.Break(t.Context(), cluster.Fault{Kind: cluster.DNSAway}, network, []fault.Node{node}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
