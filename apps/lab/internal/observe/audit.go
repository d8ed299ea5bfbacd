package observe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// podName is where the API server notes whose token a request carried.
const podName = "authentication.kubernetes.io/pod-name"

// auditEvent is the part of audit.k8s.io/v1 Event that is read here.
type auditEvent struct {
	AuditID    string `json:"auditID"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	User       struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
	ObjectRef *struct {
		Resource string `json:"resource"`
		APIGroup string `json:"apiGroup"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
}

// Requests reads what the account asked of the API server since a moment, or why
// that cannot be known.
func Requests(ctx context.Context, c cluster.Cluster, account string, since time.Time) ([]Request, Reason) {
	log, err := c.AuditLog(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, Reason{OutOfReach, "the audit log of this cluster is out of reach"}
	}
	if err != nil {
		return nil, Reason{Failed, fmt.Sprintf("opening the audit log: %v", err)}
	}
	defer func() { _ = log.Close() }()
	all, err := readAudit(log, account, since)
	if err != nil {
		return nil, Reason{Failed, fmt.Sprintf("reading the audit log: %v", err)}
	}
	return all, Reason{}
}

// readAudit keeps one request of each audit ID: a watch is logged when it starts
// and again when it ends.
func readAudit(r io.Reader, account string, since time.Time) ([]Request, error) {
	var all []Request
	seen := map[string]int{}
	reader := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil // what follows the last newline is still being written
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(line, []byte(account)) {
			continue // most are: decoding each would take long
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%.200q is no audit event: %w", line, err)
		}
		if e.User.Username != account || e.Received.Before(since) {
			continue
		}
		request := e.request()
		if at, again := seen[e.AuditID]; again {
			request.Code = max(request.Code, all[at].Code)
			all[at] = request
			continue
		}
		seen[e.AuditID] = len(all)
		all = append(all, request)
	}
}

func (e *auditEvent) request() Request {
	r := Request{At: e.Received, Verb: e.Verb, Resource: e.RequestURI}
	if pods := e.User.Extra[podName]; len(pods) > 0 {
		r.Pod = pods[0]
	}
	if e.ObjectRef != nil {
		r.Resource = e.ObjectRef.Resource
		if e.ObjectRef.APIGroup != "" {
			r.Resource += "." + e.ObjectRef.APIGroup
		}
	}
	if e.ResponseStatus != nil {
		r.Code = e.ResponseStatus.Code
	}
	if uri, err := url.Parse(e.RequestURI); err == nil {
		r.Streamed = e.Verb == "watch" && uri.Query().Get("sendInitialEvents") == "true"
	}
	return r
}
