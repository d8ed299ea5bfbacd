package observe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// maxLine is far above the longest line, a window of some thousand servers.
const maxLine = 4 << 20

// follow reads the log of a container that has started to its end and hands
// over every line once. A stream that breaks while the container runs is opened
// again where it broke. It returns an error where lines may be missing.
func follow(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container string, line func([]byte)) error {
	var last time.Time
	var rest []byte // a last line without an end
	closed := false // the kubelet ended the stream: it does when the container has ended
	for {
		before := last
		tail, err := stream(ctx, client, pod, container, &last, line)
		if err == nil || tail != nil || last.After(before) {
			rest = tail
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ended, gone := finished(ctx, client, pod, container)
		switch {
		case ended && err == nil, gone && closed:
			// The pod's status trails its end, so it can go between two looks.
			if rest != nil { // its writer did not end it
				line(rest)
			}
			return nil
		case gone:
			return fmt.Errorf("the pod was gone before its log was read: %w", err)
		case ended:
			// One more read from where it broke: the container is still there.
			rest, err := stream(ctx, client, pod, container, &last, line)
			if err == nil && rest != nil {
				line(rest)
			}
			return err
		}
		closed = err == nil
		if err := poll.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// stream reads from the line after last to the end of the stream. Timestamps
// are the kubelet's: they tell which lines were read before.
func stream(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container string, last *time.Time, line func([]byte)) (rest []byte, err error) {
	options := &corev1.PodLogOptions{Container: container, Follow: true, Timestamps: true}
	if !last.IsZero() {
		since := metav1.NewTime(*last)
		options.SinceTime = &since
	}
	opened, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	return readStamped(opened, last, line)
}

// readStamped splits the time from each line and drops those that are not after
// last: the API takes the time to read from in whole seconds. It returns the text of
// a last line without an end, nil without one: while the container runs, such a line
// was cut, and the next stream has it whole.
func readStamped(r io.Reader, last *time.Time, line func([]byte)) (rest []byte, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(withNewline)
	for lines.Scan() {
		text, whole := bytes.CutSuffix(lines.Bytes(), []byte("\n"))
		stamp, text, _ := bytes.Cut(text, []byte(" "))
		at, err := time.Parse(time.RFC3339Nano, string(stamp))
		switch {
		case err != nil || !at.After(*last):
		case whole:
			*last = at
			line(text)
		default:
			rest = bytes.Clone(text)
		}
	}
	return rest, lines.Err()
}

// withNewline is bufio.ScanLines that leaves the newline on: only the last line
// can be without one.
func withNewline(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// finished tells whether the container has ended, and whether its pod is gone.
func finished(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container string) (ended, gone bool) {
	now, err := client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID {
		return true, true
	}
	if err != nil {
		return false, false
	}
	return slices.ContainsFunc(now.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == container && s.State.Terminated != nil
	}), false
}

// ingestClient adds a line of a client to what is known of it.
func ingestClient(c *Client, raw []byte) {
	c.ingest(raw)
	parsed, err := calllog.Decode(raw)
	if err != nil {
		// A client that gives up writes the reason as text to standard error. The line
		// starts with the program's name, which can differ from the Deployment's.
		if !bytes.HasPrefix(raw, []byte(clientName)) {
			c.Trouble = err.Error()
		}
		return
	}
	if c.Started.IsZero() {
		c.Started = parsed.Head().Time
	}
	switch l := parsed.(type) {
	case *calllog.FirstAnswer:
		if _, known := c.First[l.Server]; !known {
			c.First[l.Server] = l.Time
		}
	case *calllog.Window:
		c.Windows = append(c.Windows, *l)
	case *calllog.Summary:
		c.Summary = l
	case *calllog.Start:
		if c.Windows != nil {
			c.Trouble = "the client started a second time"
		}
	}
}

// ingest adds a line if it is about the files with certificates.
func (f *Files) ingest(raw []byte) {
	var l struct {
		Time               time.Time
		Msg, Serial, Error string
	}
	if json.Unmarshal(raw, &l) != nil { // whoever reads the other lines says so
		return
	}
	switch l.Msg {
	case tlsfiles.MsgInUse:
		if f.InUse == nil {
			f.InUse = map[string]time.Time{}
		}
		if _, known := f.InUse[l.Serial]; !known {
			f.InUse[l.Serial] = l.Time
		}
	case tlsfiles.MsgBad:
		if f.Bad == nil {
			f.Bad = map[time.Time]string{}
		}
		f.Bad[l.Time] = l.Error
	}
}

// ingestServer adds a line of a server.
func ingestServer(s *Server, raw []byte) {
	s.ingest(raw)
	var l struct {
		Msg   string `json:"msg"`
		Calls *int64 `json:"calls"`
	}
	switch err := json.Unmarshal(raw, &l); {
	case err != nil:
		s.Trouble = fmt.Sprintf("%.200q is no line of echo-server: %v", raw, err)
	case l.Msg == "stopped" && l.Calls == nil:
		s.Trouble = "it stopped without saying how many calls it answered"
	case l.Msg == "stopped":
		s.Calls = l.Calls
	}
}

// trouble puts the end of following into words, "" for a whole log.
func trouble(err error) string {
	if err == nil || errors.Is(err, context.Canceled) {
		return ""
	}
	return err.Error()
}
