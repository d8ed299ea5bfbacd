package loadgen_test

import (
	"maps"
	"testing"
	"testing/synctest"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// Metadata goes with every call and with every stream, and without a setting none does.
func TestMetadata(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		pairs        map[string]string
		want         map[string]int
	}{
		{"calls", loadgen.MethodEcho, map[string]string{"x-version": "next"}, map[string]int{"next": 10}},
		{"messages_of_a_stream", loadgen.MethodStream, map[string]string{"x-version": "next"}, map[string]int{"next": 10}},
		{"none", loadgen.MethodEcho, nil, map[string]int{"": 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := named("a")
				cfg := cluster(t, true, s)
				cfg.Method, cfg.Metadata, cfg.Concurrency, cfg.Count, cfg.WaitForReady = tt.method, tt.pairs, 1, 10, true
				if _, err := run(t.Context(), t, cfg); err != nil {
					t.Fatal(err)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if !maps.Equal(s.asked, tt.want) {
					t.Errorf("calls by x-version %v, expected %v", s.asked, tt.want)
				}
			})
		})
	}
}
