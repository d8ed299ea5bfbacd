package conformance_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/conformance/faults"
)

func TestMain(m *testing.M) {
	stop, err := conformance.SetEnvironment()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flag.Parse()
	// Cases wait more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("16")
	}
	code := m.Run()
	stop()
	if err := goleak.Find(faults.Leaks()...); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Tests k8sresolver against every case.
func TestConformance(t *testing.T) {
	conformance.Run(t, subject())
}

// Tests that names are what sub-tests and tables can use, and that each says what is
// right.
func TestCases(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range conformance.Cases() {
		name := c.Kind() + "/" + c.Name
		if seen[name] {
			t.Errorf("two cases are named %q", name)
		}
		seen[name] = true
		if c.Want == "" {
			t.Errorf("case %q does not say what it wants", name)
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d cases, want 60 at least", len(seen))
	}
	t.Logf("%d cases", len(seen))
}

// subject is k8sresolver as its README tells to use it.
func subject() conformance.Subject {
	return conformance.Subject{Name: "k8sresolver", Open: func(api conformance.API) (*conformance.Program, error) {
		client, err := k8sresolver.NewClient(&rest.Config{
			Host:            api.URL,
			TLSClientConfig: rest.TLSClientConfig{CAData: api.CA},
			BearerTokenFile: api.TokenFile,
		})
		if err != nil {
			return nil, err
		}
		return &conformance.Program{
			Builder: k8sresolver.NewBuilder(client, k8sresolver.WithNamespace(api.Namespace), k8sresolver.WithNode(api.Node), k8sresolver.WithZone(api.Zone),
				k8sresolver.WithLogger(slog.New(slog.DiscardHandler))),
			Target: func(service, namespace, port string) string {
				target := k8sresolver.Scheme + ":///" + service
				if namespace != "" {
					target += "." + namespace
				}
				if port != "" {
					target += ":" + port
				}
				return target
			},
			Options: []grpc.DialOption{grpc.WithNoProxy()},
			Close:   client.Close,
			Info: func(e resolver.Endpoint) (conformance.Info, bool) {
				info, ok := k8sresolver.InfoFrom(e)
				return conformance.Info(info), ok
			},
		}, nil
	}}
}
