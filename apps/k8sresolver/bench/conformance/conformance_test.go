package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/own"
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
	conformance.Run(t, own.Subject())
}

// Tests that names are what sub-tests and tables can use, and that each says what is
// right.
func TestCases(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range conformance.Cases() {
		name := c.String()
		if seen[name] {
			t.Errorf("two cases are named %q", name)
		}
		seen[name] = true
		if c.Want == "" {
			t.Errorf("case %q does not say what it wants", name)
		}
	}
}
