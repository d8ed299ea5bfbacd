package runner_test

import (
	"errors"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// A reason is one line that tells what was waited for and what stood in the way.
func TestBrief(t *testing.T) {
	for text, want := range map[string]string{
		"no room": "no room",
		"1 of 3 are ready: not in 60 s\n  pod x and 1 more: ErrImagePull": "1 of 3 are ready: not in 60 s; pod x and 1 more: ErrImagePull",
		"1 of 3 are ready\n  pod x: waits\n  event: more":                 "1 of 3 are ready; pod x: waits",
	} {
		if got := runner.Brief(errors.New(text)); got != want {
			t.Errorf("brief of %q is %q, want %q", text, got, want)
		}
	}
}
