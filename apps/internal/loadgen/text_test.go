package loadgen_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Lines for people say what happened, with failures that stand out and without
// a list of servers that no terminal holds.
func TestText(t *testing.T) {
	many := map[string]int64{}
	for i := range 20 {
		many[fmt.Sprint("server-", i)] = int64(3 + i%2)
	}
	lines := []calllog.Line{
		&calllog.Start{Target: "dns:///x:1", Policy: "round_robin", Rate: 50},
		&calllog.Start{Target: "dns:///x:1", Policy: "pick_first", Concurrency: 1},
		&calllog.Start{Target: "dns:///x:1", Policy: "pick_first", Concurrency: 8, FreshConnections: 200},
		&calllog.FirstAnswer{Server: "a", Reply: &echopb.EchoResponse{Node: "n", Zone: "z"}},
		&calllog.FirstAnswer{Server: "a"},
		&calllog.Failure{Code: "Unavailable", Error: "connection refused"},
		&calllog.Window{Calls: 50, Servers: map[string]int64{"b": 25, "a": 24}, Failures: map[string]int64{"Unavailable": 1}, Connections: 2, Latency: calllog.Latency{P50: .44, P99: 12}},
		&calllog.Window{Calls: 70, Servers: many, Connections: 20},
		&calllog.Window{Connections: 1},
		&calllog.Summary{Calls: 4, Servers: map[string]int64{"a": 1, "b": 3}, Share: map[string]float64{"a": .25, "b": .75}, Jain: .8, PeakToMean: 1.5, Opened: 2, Latency: calllog.Latency{P50: 1, P90: 2, P99: 3, P999: 4}},
		&calllog.Resolved{Target: "dns:///x:1", Addresses: []string{"10.0.0.1:1", "10.0.0.2:1"}},
	}
	const want = `calling dns:///x:1, policy round_robin, 50 calls/s
calling dns:///x:1, policy pick_first, 1 caller, each with one call at a time
calling dns:///x:1, policy pick_first, one call on each of 200 fresh connections, 8 at a time
first answer of a on n in z
first answer of a
failed: Unavailable: connection refused
50 calls  a 24  b 25  FAILED 1 Unavailable  p50 0.4  p99 12.0 ms  2 connections
70 calls  20 servers, 3 to 4 each  p50 0.0  p99 0.0 ms  20 connections
0 calls  no answer  p50 0.0  p99 0.0 ms  1 connection
4 calls, 2 connections
   25.00 %         1  a
   75.00 %         3  b
  Jain 0.8000  peak to mean 1.50  p50 1.0  p90 2.0  p99 3.0  p99.9 4.0 ms
dns:///x:1 is 10.0.0.1:1 10.0.0.2:1
`
	var got strings.Builder
	printer := loadgen.Text{W: &got}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, line := range lines {
		line.Head().Time = at
		if err := printer.Print(line); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(got.String(), "03:04:05.000  ", "")); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}
