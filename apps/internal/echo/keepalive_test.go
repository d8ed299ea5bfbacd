package echo_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
)

// Linkerd 1 pings every connection each 5 s, with calls or without, a little
// early or late: such a connection lives. One that pings far more often is
// closed with too_many_pings.
func TestKeepaliveEnforcement(t *testing.T) {
	for _, tc := range []struct {
		name  string
		waits []time.Duration // between pings, over and over
		pings int             // sent at most
		want  string          // the GOAWAY's debug data; "" is none
	}{
		{name: "linkerd", waits: []time.Duration{5 * time.Second}, pings: 720},
		{
			name:  "linkerd_late_then_early",
			waits: []time.Duration{5200 * time.Millisecond, 4800 * time.Millisecond, 6 * time.Second, 4 * time.Second},
			pings: 720,
		},
		{name: "every_second", waits: []time.Duration{time.Second}, pings: 10, want: "too_many_pings"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := serve(t, limits)
				conn, err := h.lis.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				framer := http2.NewFramer(conn, conn)
				_, err = io.WriteString(conn, http2.ClientPreface)
				if err := errors.Join(err, framer.WriteSettings()); err != nil {
					t.Fatal(err)
				}
				var goAway string
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for {
						frame, err := framer.ReadFrame()
						if err != nil {
							return
						}
						if g, ok := frame.(*http2.GoAwayFrame); ok {
							goAway = string(g.DebugData())
						}
					}
				}()
				for i := range tc.pings {
					pass(tc.waits[i%len(tc.waits)])
					if framer.WritePing(false, [8]byte{}) != nil {
						break // the server has closed
					}
				}
				synctest.Wait()
				conn.Close()
				<-ended
				if goAway != tc.want {
					t.Errorf("GOAWAY %q, want %q", goAway, tc.want)
				}
			})
		})
	}
}

// With a largest age, clients reconnect again and again and no call fails.
func TestMaxConnectionAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, echo.Config{MaxConnectionAge: 30 * time.Second, MaxConnectionAgeGrace: 10 * time.Second})
		conn := h.dial()
		var last uint64
		for range 300 {
			resp, err := h.call(conn)
			if err != nil {
				t.Fatal(err)
			}
			last = resp.GetConnectionId()
			pass(time.Second)
		}
		// 300 s hold ten ages, and grpc-go varies each by a tenth.
		if last < 9 || last > 12 {
			t.Errorf("the last connection is number %d, want 9 to 12", last)
		}
	})
}
