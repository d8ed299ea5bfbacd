package tlsfiles_test

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
)

const name = "echo-server"

// Certificates of both sides are replaced, and then the CA's certificate, while calls are
// made on an old connection and on new ones: none fails, and the new ones are used.
func TestRotation_LosesNoCall(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	secret := tlstest.Mount(t, ca.Issue(t, nil, name), ca.PEM)
	var log syncedLog
	addr, server := serve(t, secret, &log)
	creds := credentialsOf(t, append(mutual(secret, "tls-ca"), "--tls-server-name="+name)...)
	old, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()

	stop := make(chan struct{})
	var callers sync.WaitGroup
	var calls atomic.Int64
	caller := func(call func() (string, error)) {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := call(); err != nil {
					t.Errorf("call: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	caller(func() (string, error) { return callOn(old) })
	caller(func() (string, error) { return call(creds, addr) })
	for range 20 {
		next := ca.Issue(t, nil, name)
		secret.Update(t, next, ca.PEM)
		until(t, creds, addr, next.Serial)
	}
	// A CA is replaced in three steps: both sides trust the next one, then they show its
	// certificates, then they trust the last one no more.
	second := tlstest.NewCA(t, "second ca")
	both := slices.Concat(ca.PEM, second.PEM)
	for _, step := range []struct {
		by      *tlstest.CA
		trusted []byte
	}{{ca, both}, {second, both}, {second, second.PEM}} {
		next := step.by.Issue(t, nil, name)
		secret.Update(t, next, step.trusted)
		until(t, creds, addr, next.Serial)
		for deadline := time.Now().Add(patience); !server.Trusts(step.trusted) || !creds.Trusts(step.trusted); time.Sleep(often) {
			if time.Now().After(deadline) {
				t.Fatal("the CAs of this step are not in use")
			}
		}
	}
	close(stop)
	callers.Wait()
	if calls.Load() < 23 {
		t.Errorf("%d calls, want at least one in each rotation", calls.Load())
	}
	if got := log.count("files are bad"); got > 0 {
		t.Errorf("%d faults were logged, want none", got)
	}
}

// A pair that does not match, or is half written, is not used: calls go on with the last
// good one. The log says so once, and that it is over.
func TestRotation_KeepsTheLastGoodPair(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	good := ca.Issue(t, nil, name)
	for _, tc := range []struct {
		name string
		pair tlstest.Pair
		ca   []byte
		want string
	}{
		{"swapped_key", tlstest.Pair{Cert: ca.Issue(t, nil, name).Cert, Key: ca.Issue(t, nil, name).Key}, ca.PEM, "private key does not match public key"},
		{"half_a_certificate", tlstest.Pair{Cert: good.Cert[:100], Key: good.Key}, ca.PEM, "failed to find any PEM data in certificate input"},
		{"half_a_key", tlstest.Pair{Cert: good.Cert, Key: good.Key[:100]}, ca.PEM, "failed to find any PEM data in key input"},
		{"half_a_ca", good, ca.PEM[:100], "expected the certificate of a CA in PEM, found none in its 100 bytes"},
		{"no_files", tlstest.Pair{}, nil, "is the Secret there, and mounted?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			secret := tlstest.Mount(t, good, ca.PEM)
			var log syncedLog
			addr, _ := serve(t, secret, &log)
			own := tlstest.Mount(t, ca.Issue(t, nil, name), ca.PEM)
			creds := credentialsOf(t, append(mutual(own, "tls-ca"), "--tls-server-name="+name)...)
			until(t, creds, addr, good.Serial)

			secret.Update(t, tc.pair, tc.ca)
			waitFor(t, &log, "files are bad", 1)
			until(t, creds, addr, good.Serial)
			if log.count(tc.want) != 1 {
				t.Errorf("log %q, want %q once", log.text.String(), tc.want)
			}

			next := ca.Issue(t, nil, name)
			secret.Update(t, next, ca.PEM)
			until(t, creds, addr, next.Serial)
			waitFor(t, &log, "whole and valid again", 1)
		})
	}
}

// A thousand rotations leave neither goroutines nor open files behind.
func TestRotation_LeaksNothing(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	secret := tlstest.Mount(t, ca.Issue(t, nil, name), ca.PEM)
	var log syncedLog
	addr, server := serve(t, secret, &log)
	creds := credentialsOf(t, append(mutual(secret, "tls-ca"), "--tls-server-name="+name)...)
	rotate := func(times int) {
		for range times {
			next := ca.Issue(t, nil, name)
			secret.Update(t, next, ca.PEM)
			for deadline := time.Now().Add(patience); !server.Shows(next.Serial) || !creds.Shows(next.Serial); time.Sleep(often) {
				if time.Now().After(deadline) {
					t.Fatal("the new certificate is not in use")
				}
			}
			if got, err := call(creds, addr); err != nil || got != next.Serial {
				t.Fatalf("call = %s, %v, want the certificate %s", got, err, next.Serial)
			}
		}
	}
	rotate(10)
	goroutines, files := settled(t)
	rotate(1000)
	deadline := time.Now().Add(patience)
	for {
		// The last connections are still being closed.
		g, f := settled(t)
		if g <= goroutines+5 && f <= files+5 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d open files, want about %d and %d", g, f, goroutines, files)
		}
	}
	if got := log.count("certificate in use"); got < 900 {
		t.Errorf("the log tells of %d certificates, want nearly all of 1,011", got)
	}
}

func settled(t *testing.T) (goroutines, files int) {
	t.Helper()
	time.Sleep(50 * time.Millisecond)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be counted: %v", err)
	}
	return runtime.NumGoroutine(), len(open)
}

func waitFor(t *testing.T, log *syncedLog, part string, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); log.count(part) < want; time.Sleep(often) {
		if time.Now().After(deadline) {
			t.Fatalf("log %q, want %q", log.text.String(), part)
		}
	}
}
