package callpath

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is what was measured. Its JSON is what the command prints with -o json. A slice
// has an element for each round.
type Result struct {
	Started time.Time `json:"started"`
	Machine string    `json:"machine"` // number of CPUs and platform; each process may use all of them
	Go      string    `json:"go"`
	GRPC    string    `json:"grpc"` // the module's version, which all programs are built with
	Ghz     string    `json:"ghz"`
	Rounds  int       `json:"rounds"`
	TimeS   float64   `json:"seconds_a_turn"` // that are measured, after a second to warm up
	// InFlight is how many calls are under way at a time for CallsPerSecond.
	InFlight int `json:"in_flight"`
	// Sizes of a message in protobuf, without gRPC's five bytes.
	RequestBytes  int `json:"request_bytes"`
	ResponseBytes int `json:"response_bytes"`

	Benchmark Program `json:"grpc_go_benchmark"` // google.golang.org/grpc/benchmark, its client and its server
	GhzEcho   Program `json:"ghz_to_echo_server"`
	Echo      Program `json:"echo_client_to_echo_server"`
	// PerCall is Echo with a load report in each answer: echo-server --orca-per-call.
	PerCall    Program    `json:"echo_client_to_echo_server_orca_per_call"`
	Accounting Accounting `json:"accounting"`
	OpenLoop   []OpenLoop `json:"open_loop"`
}

// Program is a client that calls a server over one connection, each a process.
type Program struct {
	// With InFlight calls under way.
	CallsPerSecond []float64 `json:"calls_per_second"`
	ClientCPU      []float64 `json:"client_cpu_us_per_call"`
	ServerCPU      []float64 `json:"server_cpu_us_per_call"`
	// With one call under way.
	P50 []float64 `json:"p50_us_one_in_flight,omitempty"`
}

// Accounting is the client's CPU time per call with InFlight calls under way, if it
// counts who answered, and if it does not.
type Accounting struct {
	On  []float64 `json:"on_cpu_us_per_call"`
	Off []float64 `json:"off_cpu_us_per_call"`
}

// OpenLoop is the client with --rate.
type OpenLoop struct {
	Asked float64   `json:"asked_calls_per_second"`
	Made  []float64 `json:"made_calls_per_second"` // that were answered
	P99   []float64 `json:"p99_us"`                // from when a call was due
}

// Goal is what a figure is held to.
type Goal struct {
	Text     string
	Measured string
	Kept     bool
}

const (
	minOfBenchmark = 0.8
	maxP50         = 1.1
	maxAccounting  = 0.02
	maxOff         = 0.01
)

// Goals judges the figures. A ratio is the median of the ratios in each round: what the
// machine does meanwhile meets both.
func (r Result) Goals() []Goal {
	calls := ratio(r.Echo.CallsPerSecond, r.Benchmark.CallsPerSecond)
	ghz := ratio(r.Echo.CallsPerSecond, r.GhzEcho.CallsPerSecond)
	p50 := ratio(r.Echo.P50, r.Benchmark.P50)
	accounting := ratio(r.Accounting.On, r.Accounting.Off) - 1
	goals := []Goal{
		{fmt.Sprintf("at least %g of the calls/s of grpc-go's benchmark, %d in flight", minOfBenchmark, r.InFlight), fmt.Sprintf("%.2f", calls), calls >= minOfBenchmark},
		{fmt.Sprintf("more calls/s than ghz, %d in flight", r.InFlight), fmt.Sprintf("%.2f of ghz", ghz), ghz > 1},
		{fmt.Sprintf("p50 of at most %g of that of grpc-go's benchmark, 1 in flight", maxP50), fmt.Sprintf("%.2f", p50), p50 <= maxP50},
		{fmt.Sprintf("to count who answered costs at most %g %% of the client's CPU", 100*maxAccounting), fmt.Sprintf("%.1f %%", 100*accounting), accounting <= maxAccounting},
	}
	for _, o := range r.OpenLoop {
		off := o.off()
		goals = append(goals, Goal{fmt.Sprintf("open loop within %g %% of %g calls/s", 100*maxOff, o.Asked), fmt.Sprintf("%.2f %%", 100*off), off <= maxOff})
	}
	return goals
}

// off is how far a round was from the rate, 0 to 1: in the median.
func (o OpenLoop) off() float64 {
	var off []float64
	for _, made := range o.Made {
		off = append(off, math.Abs(made/o.Asked-1))
	}
	return Median(off)
}

// furthest is what the round made that was furthest from the rate.
func (o OpenLoop) furthest() float64 {
	furthest := math.NaN()
	for _, made := range o.Made {
		if !(math.Abs(made-o.Asked) <= math.Abs(furthest-o.Asked)) {
			furthest = made
		}
	}
	return furthest
}

// Median returns the median, NaN of nothing, which keeps no goal.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// ratio is the median of a over b in each round.
func ratio(a, b []float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return Median(ratios)
}
