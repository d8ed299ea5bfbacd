package runner_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The log of a client that nobody answered ends in words, and has a summary all
// the same; the last failure is told in one line. A log without a summary is not
// one of a client that called.
func TestClientLog(t *testing.T) {
	const (
		first   = `{"msg":"failure","code":"Unavailable","error":"connection refused"}` + "\n"
		last    = `{"msg":"failure","code":"DeadlineExceeded","error":"too\n\tlate"}` + "\n"
		summary = `{"msg":"summary","calls":5,"failures":{"Unavailable":5}}` + "\n"
		words   = "echo-client: 5 calls to passthrough:///172.30.0.2:4140: no call was answered\n"
	)
	want := &calllog.Summary{Header: calllog.Header{Msg: "summary"}, Calls: 5, Failures: map[string]int64{"Unavailable": 5}}
	for _, test := range []struct {
		name, log string
		summary   *calllog.Summary
		failure   string
	}{
		{name: "answered", log: summary, summary: want},
		{name: "some_failed", log: first + last + summary, summary: want, failure: "DeadlineExceeded: too late"},
		{name: "nobody_answered", log: first + summary + words, summary: want, failure: "Unavailable: connection refused"},
		{name: "wrong_flags", log: "echo-client: unknown flag: --x\n"},
		{name: "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, failure, _ := runner.ClientLog([]byte(test.log))
			if diff := cmp.Diff(test.summary, got); diff != "" || failure != test.failure {
				t.Errorf("failure %q, want %q; summary (-want +got):\n%s", failure, test.failure, diff)
			}
		})
	}
}
