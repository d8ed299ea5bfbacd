package calllog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Every kind of line is read back as it was written, on one line each.
func TestLinesSurviveEncodingAndDecoding(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_001, time.UTC)
	head := calllog.Header{Time: at}
	lines := []calllog.Line{
		&calllog.Start{Header: head, Target: "dns:///x:1", Policy: "round_robin", Pod: "p", Node: "n", Version: "v1", Rate: 50},
		&calllog.FirstAnswer{Header: head, Server: "a", Reply: &echopb.EchoResponse{Node: "n", Zone: "z", ConnectionId: 7}},
		&calllog.Failure{Header: head, Code: "Unavailable", Error: "connection\nrefused"},
		&calllog.Window{
			Header: head, Seq: 1, Start: at, End: at.Add(time.Second), Issued: 3, Calls: 3,
			Failures: map[string]int64{"Unavailable": 1}, Servers: map[string]int64{"a": 2},
			Connections: 1, Barrier: true, Latency: calllog.Latency{P50: .5}, LatencyHDR: "HIST",
		},
		&calllog.StreamEnd{Header: head, Server: "a", Opened: at, Calls: 7, Code: "Unavailable", Error: "EOF"},
		&calllog.Summary{Header: head, Calls: 3, Issued: 3, Servers: map[string]int64{"a": 3}, Share: map[string]float64{"a": 1}, Jain: 1},
		&calllog.Resolved{Header: head, Target: "dns:///x:1", Addresses: []string{"10.0.0.1:1"}},
	}
	var log strings.Builder
	for _, line := range lines {
		b, err := calllog.Encode(line)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(b)
	}
	var got []calllog.Line
	for line, err := range calllog.Read(strings.NewReader(log.String())) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(lines, got, protocmp.Transform()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// The field names and formats are the contract; changing one breaks who reads.
func TestFieldNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	b, err := calllog.Encode(&calllog.Window{
		Header: calllog.Header{Time: at}, Seq: 7, Start: at, End: at, Issued: 50, Calls: 49,
		Failures: map[string]int64{"Unavailable": 1}, Servers: map[string]int64{"a": 48},
		Connections: 3, Opened: 1, Barrier: true, Latency: calllog.Latency{P50: .5, P90: 1, P99: 2, P999: 3}, LatencyHDR: "HIST",
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-01-02T03:04:05.006Z","level":"INFO","msg":"window","seq":7,` +
		`"start":"2026-01-02T03:04:05.006Z","end":"2026-01-02T03:04:05.006Z","issued":50,"calls":49,` +
		`"failures":{"Unavailable":1},"servers":{"a":48},"connections":3,"connections_opened":1,"connections_closed":0,` +
		`"barrier":true,"latency_ms":{"p50":0.5,"p90":1,"p99":2,"p999":3},"latency_hdr":"HIST"}` + "\n"
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("window (-want +got):\n%s", diff)
	}
}

// Lines of other kinds pass, what is no line is reported, and neither ends the
// reading.
func TestReadGoesOnAfterABadLine(t *testing.T) {
	const log = `{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"admin server","address":"127.0.0.1:9091"}
panic: not JSON

{"level":"INFO"}
{"msg":"window","seq":"one"}
{"msg":"resolved","target":"x","addresses":["a"]}`
	var kinds []string
	for line, err := range calllog.Read(strings.NewReader(log)) {
		if err != nil {
			kinds = append(kinds, "error")
			continue
		}
		kinds = append(kinds, line.Head().Msg)
	}
	want := []string{"admin server", "error", "error", "error", "resolved"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}
