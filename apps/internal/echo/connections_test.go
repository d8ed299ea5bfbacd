package echo_test

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
)

// At level debug the log tells of each connection under the number that its calls have;
// at level info it does not.
func TestConnectionLog(t *testing.T) {
	for _, tc := range []struct {
		level slog.Level
		want  int // lines of each kind
	}{{slog.LevelDebug, 2}, {slog.LevelInfo, 0}} {
		t.Run(tc.level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := serveAt(t, limits, tc.level)
				for want := uint64(1); want <= 2; want++ {
					conn := h.dial()
					reply, err := h.call(conn)
					if err != nil {
						t.Fatal(err)
					}
					if got := reply.GetConnectionId(); got != want {
						t.Errorf("connection %d, want %d", got, want)
					}
					if err := conn.Close(); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				h.term()
				msgs, _ := h.logged()
				for _, msg := range []string{"connection opened", "connection closed"} {
					if got := len(slices.DeleteFunc(slices.Clone(msgs), func(m string) bool { return m != msg })); got != tc.want {
						t.Errorf("%q is logged %d times, want %d: %q", msg, got, tc.want, msgs)
					}
				}
			})
		})
	}
}
