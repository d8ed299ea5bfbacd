package calllog

import "time"

// Values of "msg", one for each kind of line.
const (
	MsgStart       = "start"
	MsgFirstAnswer = "first answer"
	MsgPeer        = "peer certificate"
	MsgFailure     = "failure"
	MsgWindow      = "window"
	MsgStreamEnd   = "stream end"
	MsgSummary     = "summary"
	MsgResolved    = "resolved"
)

// CodeBacklogFull counts calls that were due but not sent, because as many calls
// as the client allows were in flight. All other codes are gRPC's.
const CodeBacklogFull = "BacklogFull"

// Header starts every line.
type Header struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Msg   string    `json:"msg"`
}

// Head gives access to the header of a line of any kind.
func (h *Header) Head() *Header { return h }

// Line is one of *Start, *FirstAnswer, *Peer, *Failure, *Window, *StreamEnd, *Summary,
// *Resolved, or *Other.
type Line interface {
	Head() *Header
	// kind is the line's msg.
	kind() string
}

// Start says what is about to be called, and by whom.
type Start struct {
	Header
	Target  string `json:"target"`
	Policy  string `json:"policy"`
	Pod     string `json:"pod"`
	Node    string `json:"node"`
	Version string `json:"version"`
	// One of the three says how the calls are made.
	Rate             float64 `json:"rate,omitempty"`
	Concurrency      int     `json:"concurrency,omitempty"`
	FreshConnections int64   `json:"fresh_connections,omitempty"`
}

// Peer is a certificate that a server has shown for the first time, and that the client
// has verified.
type Peer struct {
	Header
	Address    string    `json:"address"`             // of the server, host:port
	TLS        string    `json:"tls"`                 // version, such as TLS 1.3
	ServerName string    `json:"server_name"`         // that the certificate was verified for
	SPIFFEID   string    `json:"spiffe_id,omitempty"` // https://spiffe.io/docs/latest/spiffe-about/spiffe-concepts
	Subject    string    `json:"subject"`
	Serial     string    `json:"serial"` // hexadecimal
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
}

// Failure is the first failed call with that code in a window.
type Failure struct {
	Header
	Code  string `json:"code"`
	Error string `json:"error"`
}

// Window counts what was issued and completed between Start and End, about a
// second apart. The end of one is the start of the next.
type Window struct {
	Header
	Seq    int       `json:"seq"` // from 1
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Issued int64     `json:"issued"`
	// Calls is how many completed, failed ones included.
	Calls    int64            `json:"calls"`
	Failures map[string]int64 `json:"failures"` // by code
	Servers  map[string]int64 `json:"servers"`  // answered calls
	// Connections is how many were open at the end. Opened and Closed say
	// whether the set changed: the calls of a window in which it did are spread
	// by more than one picker.
	Connections int64 `json:"connections"`
	Opened      int64 `json:"connections_opened"`
	Closed      int64 `json:"connections_closed"`
	// Verified is how many of Opened were opened by a TLS handshake that verified the
	// server.
	Verified int64 `json:"connections_verified,omitempty"`
	// Barrier says that no call was in flight at the end. Between two barriers
	// the calls issued are exactly the calls completed.
	Barrier    bool    `json:"barrier"`
	Latency    Latency `json:"latency_ms"`
	LatencyHDR string  `json:"latency_hdr"` // base64 HdrHistogram V2, microseconds
}

// StreamEnd is the end of a stream on which a server answered. The messages that had no
// answer by then are failures of the window.
type StreamEnd struct {
	Header
	Server string    `json:"server"`
	Opened time.Time `json:"opened"`
	Calls  int64     `json:"calls"` // answered messages
	Code   string    `json:"code"`  // OK after the client's last message
	Error  string    `json:"error,omitempty"`
}

// Summary counts the whole run.
type Summary struct {
	Header
	Calls      int64              `json:"calls"`
	Issued     int64              `json:"issued"`
	Failures   map[string]int64   `json:"failures"`
	Servers    map[string]int64   `json:"servers"`
	Share      map[string]float64 `json:"share"`
	Jain       float64            `json:"jain"`
	PeakToMean float64            `json:"peak_to_mean"`
	Opened     int64              `json:"connections_opened"`
	Verified   int64              `json:"connections_verified,omitempty"` // of Opened, by TLS handshakes
	Latency    Latency            `json:"latency_ms"`
}

// Latency holds percentiles in milliseconds, zero when no call completed. An
// open loop measures from the moment the call was due.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// Resolved is what the target's resolver gave to gRPC.
type Resolved struct {
	Header
	Target    string   `json:"target"`
	Addresses []string `json:"addresses"`
}

// Other is a line of any other kind: what the client says about itself.
type Other struct {
	Header
}

func (*Start) kind() string       { return MsgStart }
func (*FirstAnswer) kind() string { return MsgFirstAnswer }
func (*Peer) kind() string        { return MsgPeer }
func (*Failure) kind() string     { return MsgFailure }
func (*Window) kind() string      { return MsgWindow }
func (*StreamEnd) kind() string   { return MsgStreamEnd }
func (*Summary) kind() string     { return MsgSummary }
func (*Resolved) kind() string    { return MsgResolved }
func (o *Other) kind() string     { return o.Msg }
