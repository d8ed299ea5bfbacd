package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// Run runs all cases as parallel sub-tests, each of them once.
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
			failures, clean := c.Check(t.Context(), s, cp)
			clean()
			for _, f := range failures {
				t.Errorf("%s; want: %s", f, c.Want)
			}
		})
	}
}
