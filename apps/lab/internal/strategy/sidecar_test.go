package strategy_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

func TestCounter(t *testing.T) {
	const name = "listener.0.0.0.0_15006.ssl.handshake"
	raw := "a line of the agent\ncluster.x.ssl.handshake: 0\n" + name + ": 3\n"
	if got, err := strategy.Counter([]byte(raw), name); got != 3 || err != nil {
		t.Errorf("counter %d, error %v, want 3", got, err)
	}
	if got, err := strategy.Counter([]byte(raw), "listener.other"); err == nil {
		t.Errorf("counter %d of a name that is not there, want an error", got)
	}
}
