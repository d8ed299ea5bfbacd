package conformance

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// attempts is how often a case may fail in [Run].
const attempts = 3

// again is held by the case that is tried again: one at a time.
var again sync.Mutex

// Run runs all cases as parallel sub-tests. A case that fails is tried again: what a
// busy machine is late with comes in time at last, what a resolver does wrong does not.
func Run(t *testing.T, s Subject) {
	t.Helper()
	programs, missing := controlplane.Find()
	var cp *controlplane.ControlPlane
	if missing == nil {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		cp, err = controlplane.Start(ctx, programs, t.TempDir())
		t.Cleanup(cp.Stop)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range Cases() {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			if c.Real && missing != nil {
				t.Skip("not run:", missing)
			}
			failures := c.once(t, s, cp)
			for range attempts - 1 {
				if len(failures) == 0 {
					return
				}
				t.Logf("tried again: %s", strings.Join(failures, "; "))
				again.Lock()
				failures = c.once(t, s, cp)
				again.Unlock()
			}
			for _, f := range failures {
				t.Errorf("%s; want: %s", f, c.Want)
			}
		})
	}
}

func (c Case) once(t *testing.T, s Subject, cp *controlplane.ControlPlane) []string {
	t.Helper()
	failures, clean := c.Check(t.Context(), s, cp)
	clean()
	return failures
}
