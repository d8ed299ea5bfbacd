package report

import "time"

// Status tells whether a strategy, a claim or an experiment came to a result.
type Status string

// The statuses of strategies (Ran, NotRun), claims (Proven, Refuted, NotRun)
// and experiments (Measured, NotMeasured).
const (
	Ran         Status = "ran"
	NotRun      Status = "not run"
	Proven      Status = "proven"
	Refuted     Status = "refuted"
	Measured    Status = "measured"
	NotMeasured Status = "not measured"
)

// Schema is the number of the form that a Result has as JSON.
const Schema = 1

// Result is one run of the lab. Its JSON is what `lab run -o json` prints.
type Result struct {
	Schema int `json:"schema"`
	// Command is what repeats it.
	Command     string            `json:"command,omitempty"`
	Started     time.Time         `json:"started"`
	Finished    time.Time         `json:"finished"`
	Cluster     string            `json:"cluster"`
	Machine     Machine           `json:"machine"`
	Versions    map[string]string `json:"versions"`
	Strategies  []Strategy        `json:"strategies"`
	Claims      []Claim           `json:"claims"`
	Experiments []Experiment      `json:"experiments"`
}

// Machine is what the run had to share.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel,omitempty"`
	CPUs        int    `json:"cpus"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
}

// Strategy is one overlay's row of the table. Figures that were not measured
// are absent, never zero.
type Strategy struct {
	Name     string `json:"name"`
	Balancer string `json:"balancer"`
	Status   Status `json:"status"`
	// Reason says why the strategy did not run.
	Reason string `json:"reason,omitempty"`
	// Note says what the lab put beside the overlay, stand-ins by name.
	Note string `json:"note,omitempty"`
	// Spread is who answered each client in the steady state.
	Spread []ClientSpread `json:"spread,omitempty"`
	// Jain is the lowest of the clients' fairness indices, idle servers counted.
	Jain *float64 `json:"jain,omitempty"`
	// Idle counts the servers that no client called after the scale-out.
	Idle *Idle `json:"idle_servers,omitempty"`
	// NewPods is how soon new pods are called after the watch says Ready.
	NewPods *NewPods `json:"time_to_new_pods,omitempty"`
	// FailedCalls counts the failed calls of all measured experiments. It is absent, as
	// P99Millis is, if other strategies were measured at the same time on the same machine.
	FailedCalls *int64 `json:"failed_calls,omitempty"`
	// P99Millis is the latency of the steady state over all clients, in milliseconds.
	P99Millis *float64 `json:"p99_ms,omitempty"`
	// Cost is what it costs, where that was measured.
	Cost *Cost `json:"cost,omitempty"`
	// Timeline is who answered the calls, from the first to the last.
	Timeline *Timeline `json:"timeline,omitempty"`
	// Journal is what the lab did outside of experiments.
	Journal []Entry `json:"journal,omitempty"`
}

// ClientSpread is who answered one client.
type ClientSpread struct {
	Client string `json:"client"`
	// Servers holds the calls each ready server answered, idle ones included.
	Servers map[string]int64 `json:"servers"`
	Jain    float64          `json:"jain"`
}

// Idle tells how many of the servers got no call.
type Idle struct {
	Idle    int `json:"idle"`
	Servers int `json:"servers"`
}

// NewPods tells when the clients called the pods of a scale-out.
type NewPods struct {
	// Calls of a pod and client pair: Called of Pairs happened.
	Called int `json:"called"`
	Pairs  int `json:"pairs"`
	// SlowestSeconds is the longest wait of those that happened.
	SlowestSeconds float64 `json:"slowest_s"`
	// WatchedSeconds is how long the lab waited for the others.
	WatchedSeconds float64 `json:"watched_s"`
}

// Claim is a sentence about a strategy with the measurement that decides it.
type Claim struct {
	ID       int    `json:"id"`
	Strategy string `json:"strategy"`
	Status   Status `json:"status"`
	Text     string `json:"text"`
	// Measured is what was measured, Figure the number in it that decides.
	Measured string `json:"measured,omitempty"`
	Figure   string `json:"figure,omitempty"`
	// Limit decides; Goal is what a fast machine should reach.
	Limit  string `json:"limit"`
	Goal   string `json:"goal,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Before is what came out of it in earlier attempts of the same run.
	Before []Attempt `json:"before,omitempty"`
	// OutOfReach says that a cluster of this kind can never decide it: such a claim
	// is missing only where somebody asks for it.
	OutOfReach bool `json:"out_of_reach,omitempty"`
}

// Attempt is what an attempt to decide a claim came to: what was measured, or why
// it was not run.
type Attempt struct {
	Status  Status `json:"status"`
	Outcome string `json:"outcome"`
}

// Experiment is one change made to one strategy.
type Experiment struct {
	Name     string    `json:"name"`
	Strategy string    `json:"strategy"`
	Status   Status    `json:"status"`
	Reason   string    `json:"reason,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Begin is when the steady state held, Changed when the change was made, End when
	// the observation ended; zero is what did not happen.
	Begin    time.Time `json:"begin,omitzero"`
	Changed  time.Time `json:"changed,omitzero"`
	End      time.Time `json:"end,omitzero"`
	Steady   string    `json:"steady_state"`
	Change   string    `json:"change"`
	Findings []Finding `json:"findings,omitempty"`
	// Journal is what was done and seen, in order.
	Journal []Entry `json:"journal,omitempty"`
}

// Finding is one assertion of an experiment and how it came out. Unlike a
// claim it never fails a run.
type Finding struct {
	Text     string `json:"text"`
	Holds    bool   `json:"holds"`
	Measured string `json:"measured"`
}

// Entry is one line of a journal.
type Entry struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}
