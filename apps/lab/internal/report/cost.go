package report

// Cost is what one strategy costs, as one run measured it.
type Cost struct {
	// Rate is how many calls a second its clients together were to make.
	Rate float64 `json:"rate"`
	// Turns are the times in which this strategy alone was called.
	Turns   []Turn  `json:"turns"`
	Proxies Proxies `json:"proxies"`
	// Figures are further numbers by name; one that was not measured is absent.
	Figures map[string]float64 `json:"figures"`
	// NewPods is how soon new pods are called.
	NewPods *NewPods `json:"time_to_new_pods,omitempty"`
	// Failed holds the calls that failed by experiment.
	Failed map[string]Failed `json:"failed"`
	// Encrypted says that every server's proxy counted TLS handshakes, or that every client
	// verified its servers.
	Encrypted bool   `json:"encrypted"`
	Change    Change `json:"change"`
}

// Names of figures.
const (
	// Memory is the working set of what is added for each pod of client or server, in
	// MiB.
	Memory = "memory_mib_a_pod"
	// Connections is how many a client holds.
	Connections = "connections_per_client"
	// Handshakes is how many TLS handshakes a client makes while all servers are restarted.
	// Clients without TLS have none, and it is absent.
	Handshakes = "tls_handshakes_per_client_in_a_rolling_restart"
	// OtherNode is the share of calls that another node answered, 0 to 1.
	OtherNode = "share_to_other_nodes"
)

// Figures are the columns of figures in the cost table, in its order. Each is measured
// by the function of its name in package strategy.
var Figures = []struct {
	Name, Head string
	Digits     int // after the point
}{
	{Memory, "extra memory a pod (MiB)", 0},
	{Connections, "connections a client", 1},
	{Handshakes, "TLS handshakes a client, rolling restart", 1},
}

// Turn is one measurement.
type Turn struct {
	// Rate is how many calls a second were made, Failed how many failed in all.
	Rate      float64 `json:"rate"`
	Failed    int64   `json:"failed"`
	P50Millis float64 `json:"p50_ms"`
	P99Millis float64 `json:"p99_ms"`
	// LatencyHDR is the histogram of its calls, as a line of the client's log has it:
	// microseconds, in HdrHistogram's compressed V2 format as base64.
	LatencyHDR string `json:"latency_hdr,omitempty"`
	// CPU is the processor time of 1,000 calls in milliseconds, by part: client,
	// server, proxy.
	CPU map[string]float64 `json:"cpu_ms_per_1000_calls"`
}

// Proxies are the containers that are neither client nor server.
type Proxies struct {
	// AppPods are the pods of clients and servers, Beside the containers added to
	// them, Pods the pods added.
	AppPods int `json:"app_pods"`
	Beside  int `json:"containers_beside"`
	Pods    int `json:"pods"`
}

// Failed counts the calls of an experiment.
type Failed struct {
	// Failed of Calls failed; Late of these missed their deadline.
	Failed int64 `json:"failed"`
	Late   int64 `json:"late"`
	Calls  int64 `json:"calls"`
}

// Change is what an application changes against l4.
type Change struct {
	// Args are the client's arguments that l4's has not, Code the package that its
	// program must import, Rights what its service account may do.
	Args   []string `json:"args"`
	Code   string   `json:"code,omitempty"`
	Rights []string `json:"rights"`
}
