package observe_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// A log that is read again from the second in which it broke gives every line
// once, in order, and what is no stamped line is left out.
func TestReadStampedAfterABreak(t *testing.T) {
	const (
		first  = "2026-08-01T10:00:00.100000000Z a\n2026-08-01T10:00:00.200000000Z b\n"
		second = "2026-08-01T10:00:00.100000000Z a\n2026-08-01T10:00:00.200000000Z b\n2026-08-01T10:00:00.200000001Z c d\nunable to retrieve container logs\n2026-08-01T10:00:01Z \n"
	)
	var last time.Time
	var got []string
	line := func(raw []byte) { got = append(got, string(raw)) }
	broken := errors.New("connection lost")
	if _, err := observe.ReadStamped(iotest.TimeoutReader(strings.NewReader(first)), &last, line); err != nil && !errors.Is(err, iotest.ErrTimeout) {
		t.Fatal(err)
	}
	if _, err := observe.ReadStamped(iotest.ErrReader(broken), &last, line); !errors.Is(err, broken) {
		t.Errorf("a broken stream gives %v, want %v", err, broken)
	}
	if _, err := observe.ReadStamped(strings.NewReader(second), &last, line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c d", ""}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// What a client and a server log ends up where claims look for it; what cannot
// be theirs is trouble, since the log then is not whole.
func TestIngest(t *testing.T) {
	c := &observe.Client{First: map[string]time.Time{}}
	for _, raw := range []string{
		`{"time":"2026-08-01T10:00:00Z","msg":"start","target":"dns:///x:1"}`,
		`{"time":"2026-08-01T10:00:01Z","msg":"first answer","server":"s1"}`,
		`{"time":"2026-08-01T10:00:02Z","msg":"first answer","server":"s1"}`,
		`{"time":"2026-08-01T10:00:02Z","msg":"window","seq":1,"calls":1,"servers":{"s1":1}}`,
		`{"time":"2026-08-01T10:00:03Z","msg":"stopping","signal":"terminated"}`,
		`{"time":"2026-08-01T10:00:03Z","msg":"summary","calls":1,"servers":{"s1":1}}`,
	} {
		observe.IngestClient(c, []byte(raw))
	}
	if c.Trouble != "" || !c.Started.Equal(at(0)) || !c.First["s1"].Equal(at(1)) || len(c.Windows) != 1 || c.Summary == nil || c.Summary.Calls != 1 {
		t.Errorf("client is %+v, want its start, first answer, window and summary", c)
	}
	for _, raw := range []string{`panic: boom`, `{"time":"2026-08-01T10:00:00Z","msg":"start"}`} {
		c.Trouble = ""
		if observe.IngestClient(c, []byte(raw)); c.Trouble == "" {
			t.Errorf("client line %q is no trouble, want some", raw)
		}
	}
	s := &observe.Server{}
	observe.IngestServer(s, []byte(`{"msg":"serving","port":8080}`))
	observe.IngestServer(s, []byte(`{"msg":"stopped","calls":7}`))
	if s.Trouble != "" || s.Calls == nil || *s.Calls != 7 {
		t.Errorf("server is %+v, want 7 calls", s)
	}
	for _, raw := range []string{`panic: boom`, `{"msg":"stopped"}`} {
		s.Trouble = ""
		if observe.IngestServer(s, []byte(raw)); s.Trouble == "" {
			t.Errorf("server line %q is no trouble, want some", raw)
		}
	}
}

// What a program logs of its certificate files is kept on both sides: the first time of each
// certificate, and every error.
func TestIngestFiles(t *testing.T) {
	c, s := &observe.Client{First: map[string]time.Time{}}, &observe.Server{}
	for _, raw := range []string{
		`{"time":"2026-08-01T10:00:01Z","level":"INFO","msg":"certificate in use","serial":"a1"}`,
		`{"time":"2026-08-01T10:00:02Z","level":"INFO","msg":"certificate in use","serial":"b2"}`,
		`{"time":"2026-08-01T10:00:03Z","level":"INFO","msg":"certificate in use","serial":"a1"}`,
		`{"time":"2026-08-01T10:00:04Z","level":"ERROR","msg":"the certificate files are bad; a pair that is not whole is not taken into use","error":"half of it"}`,
		`{"time":"2026-08-01T10:00:05Z","level":"INFO","msg":"the certificate files are whole and valid again"}`,
	} {
		observe.IngestClient(c, []byte(raw))
		observe.IngestServer(s, []byte(raw))
	}
	want := observe.Files{InUse: map[string]time.Time{"a1": at(1), "b2": at(2)}, Bad: map[time.Time]string{at(4): "half of it"}}
	for side, got := range map[string]observe.Files{"client": c.Files, "server": s.Files} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", side, diff)
		}
	}
	if c.Trouble != "" || s.Trouble != "" {
		t.Errorf("troubles %q and %q, want none", c.Trouble, s.Trouble)
	}
}

// Of an audit log only the account's requests of this run count, each once,
// with its last code.
func TestReadAudit(t *testing.T) {
	const (
		head = `"user":{"username":"system:serviceaccount:grpc-lb-k8s-api:echo-client","extra":{"authentication.kubernetes.io/pod-name":["c1"]}},`
		ref  = `"objectRef":{"resource":"endpointslices","apiGroup":"discovery.k8s.io","namespace":"grpc-lb-k8s-api"},`
		log  = `{"auditID":"0","verb":"list",` + head + ref + `"requestURI":"/x","requestReceivedTimestamp":"2026-08-01T09:59:59.000000Z"}
{"auditID":"1","verb":"list",` + head + ref + `"requestURI":"/x?resourceVersion=0","responseStatus":{"code":200},"requestReceivedTimestamp":"2026-08-01T10:00:00.000000Z"}
{"auditID":"9","verb":"list","user":{"username":"system:serviceaccount:grpc-lb-k8s-api:echo-client-other"},"requestReceivedTimestamp":"2026-08-01T10:00:00.000000Z"}
{"auditID":"8","verb":"get","user":{"username":"admin"},"requestReceivedTimestamp":"2026-08-01T10:00:00.000000Z"}
{"auditID":"2","verb":"watch",` + head + ref + `"requestURI":"/x?sendInitialEvents=true&watch=1","stage":"ResponseStarted","responseStatus":{"code":200},"requestReceivedTimestamp":"2026-08-01T10:00:01.000000Z"}
{"auditID":"2","verb":"watch",` + head + ref + `"requestURI":"/x?sendInitialEvents=true&watch=1","stage":"ResponseComplete","responseStatus":{"code":200},"requestReceivedTimestamp":"2026-08-01T10:00:01.000000Z"}
{"auditID":"3","verb":"get",` + head + `"requestURI":"/apis","responseStatus":{"code":403},"requestReceivedTimestamp":"2026-08-01T10:00:02.000000Z"}
{"auditID":"4","verb":"get",` + head + `"requestURI":"/half`
	)
	const account = "system:serviceaccount:grpc-lb-k8s-api:echo-client"
	got, err := observe.ReadAudit(strings.NewReader(log), account, at(0))
	if err != nil {
		t.Fatal(err)
	}
	const slices = "endpointslices.discovery.k8s.io"
	want := []observe.Request{
		{Pod: "c1", At: at(0), Verb: "list", Resource: slices, Code: 200},
		{Pod: "c1", At: at(1), Verb: "watch", Resource: slices, Streamed: true, Code: 200},
		{Pod: "c1", At: at(2), Verb: "get", Resource: "/apis", Code: 403},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if _, err := observe.ReadAudit(strings.NewReader("no event of "+account+"\n"), account, at(0)); err == nil {
		t.Error("a line that is no event was accepted, want an error")
	}
}
