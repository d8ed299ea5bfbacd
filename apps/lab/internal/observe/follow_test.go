package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// state is what the API server says of the pod.
type state int

const (
	running state = iota
	ended         // its container has
	gone
	replaced // by a pod of the same name
	unknown  // the API server does not answer
)

// reading is one stream of a log, and what the API server says of the pod after it.
type reading struct {
	log     string
	breaks  error // after the log; nil ends the stream properly
	refused bool  // the API server opens no stream
	then    state
}

// logServer stands in for an API server, below the real client: it gives one
// reading after the other, and repeats none.
type logServer struct {
	readings []reading
	then     state
	since    []string // sinceTime of each request for a log
}

func (s *logServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/log") {
		s.since = append(s.since, r.URL.Query().Get("sinceTime"))
		if len(s.readings) == 0 {
			return nil, errors.New("the log was opened too often")
		}
		next := s.readings[0]
		s.readings, s.then = s.readings[1:], next.then
		var body io.Reader = strings.NewReader(next.log)
		switch {
		case next.refused:
			return respond(http.StatusBadRequest, strings.NewReader("container is waiting to start")), nil
		case next.breaks != nil:
			body = io.MultiReader(body, iotest.ErrReader(next.breaks))
		}
		return respond(http.StatusOK, body), nil
	}
	pod := podIn("uid", s.then == ended)
	switch s.then {
	case gone:
		status, _ := json.Marshal(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: 404})
		return respond(http.StatusNotFound, bytes.NewReader(status)), nil
	case unknown:
		return nil, errors.New("connection refused")
	case replaced:
		pod.UID = "another"
	}
	raw, err := json.Marshal(pod)
	return respond(http.StatusOK, bytes.NewReader(raw)), err
}

func respond(code int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}
}

func podIn(uid types.UID, terminated bool) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: "c1", Namespace: "x", UID: uid}}
	status := corev1.ContainerStatus{Name: "echo-client"}
	if terminated {
		status.State.Terminated = &corev1.ContainerStateTerminated{}
	}
	// Another container's end is not the end of this one.
	p.Status.ContainerStatuses = []corev1.ContainerStatus{status, {Name: "proxy", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	return p
}

func follow(ctx context.Context, t *testing.T, s *logServer) (lines []string, err error) {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://api", Transport: s, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	err = observe.Follow(ctx, client, podIn("uid", false), "echo-client", func(line []byte) { lines = append(lines, string(line)) })
	return lines, err
}

// Every line of a container is handed over once and whole, however often the
// stream breaks, and where lines may be missing there is an error. The time is a
// fake one, the API server a fake below the real client.
func TestFollow(t *testing.T) {
	const (
		a = "2026-08-01T10:00:00.100000000Z a\n"
		b = "2026-08-01T10:00:01.200000000Z bb\n"
		c = "2026-08-01T10:00:01.300000000Z c\n"

		afterA, afterB = "2026-08-01T10:00:00Z", "2026-08-01T10:00:01Z"
		between        = 200 * time.Millisecond
	)
	broken := errors.New("connection lost")
	for _, test := range []struct {
		name     string
		readings []reading
		want     []string
		since    []string // of each reading
		took     time.Duration
		wantErr  string // a part, "" for none
	}{
		{name: "ends_with_its_container", readings: []reading{{log: a + b, then: ended}}, want: []string{"a", "bb"}, since: []string{""}},
		{name: "without_a_line", readings: []reading{{then: ended}}, since: []string{""}},
		{name: "last_line_without_a_newline", readings: []reading{{log: a + strings.TrimSpace(b), then: ended}}, want: []string{"a", "bb"}, since: []string{""}},
		{name: "breaks_and_goes_on", readings: []reading{{log: a + b, breaks: broken}, {log: b + c, then: ended}},
			want: []string{"a", "bb", "c"}, since: []string{"", afterB}, took: between},
		{name: "breaks_in_a_line", readings: []reading{{log: a + b[:len(b)-2], breaks: broken}, {log: a + b + c, then: ended}},
			want: []string{"a", "bb", "c"}, since: []string{"", afterA}, took: between},
		{name: "breaks_before_a_newline", readings: []reading{{log: a + b[:len(b)-1], breaks: broken}, {log: a + b, then: ended}},
			want: []string{"a", "bb"}, since: []string{"", afterA}, took: between},
		{name: "breaks_in_a_time", readings: []reading{{log: a + b[:12], breaks: broken}, {log: a + b, then: ended}},
			want: []string{"a", "bb"}, since: []string{"", afterA}, took: between},
		{name: "breaks_again_and_again", readings: []reading{{log: a, breaks: broken}, {breaks: broken}, {log: a + b, breaks: broken}, {log: b + c, then: ended}},
			want: []string{"a", "bb", "c"}, since: []string{"", afterA, afterA, afterB}, took: 3 * between},
		{name: "is_not_there_yet", readings: []reading{{refused: true}, {log: a, then: ended}}, want: []string{"a"}, since: []string{"", ""}, took: between},
		{name: "closed_while_the_container_runs", readings: []reading{{log: a}, {log: a + b, then: ended}}, want: []string{"a", "bb"}, since: []string{"", afterA}, took: between},
		{name: "closed_in_a_line_while_the_container_runs", readings: []reading{{log: a + b[:len(b)-2]}, {log: a + b + c, then: ended}},
			want: []string{"a", "bb", "c"}, since: []string{"", afterA}, took: between},
		{name: "closed_in_a_line_and_then_gone", readings: []reading{{log: a + strings.TrimSpace(b)}, {refused: true, then: gone}},
			want: []string{"a", "bb"}, since: []string{"", afterA}, took: between},
		{name: "pod_of_unknown_state", readings: []reading{{log: a, then: unknown}, {log: a + b, then: ended}}, want: []string{"a", "bb"}, since: []string{"", afterA}, took: between},
		{name: "breaks_as_the_container_ends", readings: []reading{{log: a, breaks: broken, then: ended}, {log: a + b, then: ended}},
			want: []string{"a", "bb"}, since: []string{"", afterA}},
		{name: "breaks_twice_as_the_container_ends", readings: []reading{{log: a, breaks: broken, then: ended}, {log: a, breaks: broken, then: ended}},
			want: []string{"a"}, since: []string{"", afterA}, wantErr: "connection lost"},
		{name: "closed_and_then_gone", readings: []reading{{log: a}, {refused: true, then: gone}}, want: []string{"a"}, since: []string{"", afterA}, took: between},
		{name: "breaks_and_the_pod_is_gone", readings: []reading{{log: a, breaks: broken, then: gone}},
			want: []string{"a"}, since: []string{""}, wantErr: "gone before its log was read: connection lost"},
		{name: "breaks_and_the_pod_is_another", readings: []reading{{log: a, breaks: broken, then: replaced}},
			want: []string{"a"}, since: []string{""}, wantErr: "gone before its log was read: connection lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, begin := &logServer{readings: test.readings}, time.Now()
				got, err := follow(t.Context(), t, server)
				if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("error %v, want %q", err, test.wantErr)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.since, server.since); diff != "" {
					t.Errorf("times to read from (-want +got):\n%s", diff)
				}
				if took := time.Since(begin); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// The end of a run ends the reading of a log, with the run's own cause.
func TestFollowEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, interrupted)
		defer cancel()
		begin := time.Now()
		if _, err := follow(ctx, t, &logServer{readings: []reading{{breaks: errors.New("connection lost")}}}); !errors.Is(err, interrupted) {
			t.Errorf("error %v, want %v", err, interrupted)
		}
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("took %s, want 100ms", took)
		}
	})
}
