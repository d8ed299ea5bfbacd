// Package controlplane runs a real kube-apiserver over a real etcd on the loopback,
// without nodes and controllers: EndpointSlices are what a test writes.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/util/keyutil"
)

// Tokens that the API server knows.
const (
	adminToken  = "admin"
	ClientToken = "client"
	// clientUser is who the bearer of ClientToken is: a service account that may do
	// nothing but what a case grants it.
	clientUser = "system:serviceaccount:conformance:client"
)

// ControlPlane is a running API server.
type ControlPlane struct {
	URL   string `json:"url"`
	CA    []byte `json:"ca"` // PEM
	stops []func()
}

// Start starts the programs with all of their files in the directory, and waits until
// they serve. Stop must be called also after an error.
func Start(ctx context.Context, programs Programs, dir string) (*ControlPlane, error) {
	cp := &ControlPlane{}
	ports, err := freePorts(3)
	if err != nil {
		return cp, err
	}
	etcd := "http://127.0.0.1:" + ports[0]
	peer := "http://127.0.0.1:" + ports[1]
	cp.URL = "https://127.0.0.1:" + ports[2]
	keys := filepath.Join(dir, "service-accounts.pem")
	tokens := filepath.Join(dir, "tokens.csv")
	key, err := keyutil.MakeEllipticPrivateKeyPEM() // which the API server insists on having for tokens
	if err := errors.Join(
		err,
		keyutil.WriteKey(keys, key),
		os.WriteFile(tokens, fmt.Appendf(nil, "%s,admin,admin,system:masters\n%s,%s,client,system:serviceaccounts\n", adminToken, ClientToken, clientUser), 0o600),
	); err != nil {
		return cp, err
	}
	if err := cp.run(dir, programs.Etcd,
		"--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer,
	); err != nil {
		return cp, err
	}
	if err := cp.run(dir, programs.APIServer,
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--secure-port="+ports[2], "--cert-dir="+dir,
		"--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+keys, "--service-account-signing-key-file="+keys,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
		// Nothing here outlives a test.
		"--shutdown-delay-duration=0s", "--profiling=false",
	); err != nil {
		return cp, err
	}
	return cp, cp.ready(ctx, filepath.Join(dir, "apiserver.crt"))
}

// Stop ends the programs and waits for them.
func (cp *ControlPlane) Stop() {
	for _, stop := range slices.Backward(cp.stops) {
		stop()
	}
	cp.stops = nil
}

func (cp *ControlPlane) run(dir, program string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the program has its own copy
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = endsWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("controlplane: starting %s: %w", program, err)
	}
	cp.stops = append(cp.stops, func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return nil
}

// ready waits for the API server, whose certificate it makes itself.
func (cp *ControlPlane) ready(ctx context.Context, certificate string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		if cp.CA, err = os.ReadFile(certificate); err == nil {
			if _, err = cp.Get(ctx, "/readyz"); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("controlplane: the API server is not ready: %w; see the logs in %s", err, filepath.Dir(certificate))
		case <-tick.C:
		}
	}
}

// freePorts returns ports that were free a moment ago.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all are known, so that they differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
