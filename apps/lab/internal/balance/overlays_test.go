package balance_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// The model comes to what each strategy of this repository shows on a cluster.
func TestOverlays(t *testing.T) {
	want := map[string]balance.Verdict{"l4": balance.Pinned, "l4-max-age": balance.Pinned}
	repository := manifesttest.Checkout(t)
	for _, name := range manifesttest.All(t) {
		t.Run(name, func(t *testing.T) {
			rendered, err := repository.Render(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := manifest.Decode(rendered)
			if err != nil {
				t.Fatal(err)
			}
			paths := balance.New(objects).Paths()
			if len(paths) != 1 {
				t.Fatalf("%d clients, expected 1: %+v", len(paths), paths)
			}
			expected, ok := want[name]
			if !ok {
				expected = balance.Balanced
			}
			if paths[0].Verdict != expected {
				t.Errorf("verdict %s, expected %s: %+v", paths[0].Verdict, expected, paths[0].Findings)
			}
		})
	}
}
