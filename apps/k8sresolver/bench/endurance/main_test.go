package endurance_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
)

var (
	full   = flag.Bool("endurance.full", false, "measure the figures as the README has them, which takes minutes")
	asJSON = flag.String("endurance.json", "", "write the figures into this `file` and keep its others")
	update = flag.Bool("update", false, "write the README's table")
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := mayRecord(*asJSON, *full); err != nil {
		fmt.Fprintln(os.Stderr, "-endurance.json:", err)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m, faults.Leaks()...)
}

// pick returns how much a test does: the first when it is to be light.
func pick[T any](light, whole T) T {
	if *full {
		return whole
	}
	return light
}
