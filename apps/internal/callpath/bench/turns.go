package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
)

// warmUp is how long a program calls before its calls count.
const warmUp = time.Second

// turn is what a client measured.
type turn struct {
	callsPerSecond float64
	p50, p99       time.Duration
}

// client runs a program with that many calls at a time and reads what it printed.
type client struct {
	program string
	args    func(inFlight int, time time.Duration) []string
	read    func(output []byte, time time.Duration) (turn, error)
	server  *server
}

// take lets the client call, and measures the CPU time of both while it does.
func (c client) take(ctx context.Context, inFlight int, measured time.Duration) (t turn, clientCPU, serverCPU float64, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p, err := start(ctx, nil, c.program, c.args(inFlight, measured)...)
	if err != nil {
		return t, 0, 0, err
	}
	// The start and the end of a program cost something else than calls.
	cpu, err := whileCalling(ctx, measured, p, c.server.child)
	if err != nil {
		stop()
		_, failed := p.output()
		return t, 0, 0, errors.Join(failed, err)
	}
	out, err := p.output()
	if err != nil {
		return t, 0, 0, err
	}
	if t, err = c.read(out, measured); err != nil {
		return t, 0, 0, fmt.Errorf("%s: %w: %.500s", c.program, err, out)
	}
	return t, cpu[0] / t.callsPerSecond, cpu[1] / t.callsPerSecond, nil
}

// whileCalling returns the microseconds of CPU time that each process has in a second, in
// the middle of the time that is measured.
func whileCalling(ctx context.Context, measured time.Duration, of ...*child) ([]float64, error) {
	margin := measured / 8
	sample := func() (at time.Time, cpu []time.Duration, err error) {
		for _, c := range of {
			had, err := c.cpu(ctx)
			if err != nil {
				return at, nil, err
			}
			cpu = append(cpu, had)
		}
		return time.Now(), cpu, nil
	}
	if err := sleep(ctx, warmUp+margin); err != nil {
		return nil, err
	}
	begin, before, err := sample()
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, measured-2*margin); err != nil {
		return nil, err
	}
	end, after, err := sample()
	if err != nil {
		return nil, err
	}
	var perSecond []float64
	for i := range of {
		perSecond = append(perSecond, micros(after[i]-before[i])/end.Sub(begin).Seconds())
	}
	return perSecond, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// What grpc-go's benchmark prints.
var (
	qps        = regexp.MustCompile(`(?m)^qps: (\S+)$`)
	percentile = regexp.MustCompile(`(?m)^Latency: \(50/90/99 %ile\): ([^/\s]+)/[^/\s]+/([^/\s]+)$`)
)

func readBenchmark(output []byte, _ time.Duration) (t turn, err error) {
	rate, latencies := qps.FindSubmatch(output), percentile.FindSubmatch(output)
	if rate == nil || latencies == nil {
		return t, errors.New("it prints no qps and no latency")
	}
	t.callsPerSecond, err = strconv.ParseFloat(string(rate[1]), 64)
	var err50, err99 error
	t.p50, err50 = time.ParseDuration(string(latencies[1]))
	t.p99, err99 = time.ParseDuration(string(latencies[2]))
	return t, errors.Join(err, err50, err99)
}

// ghzReport is what is needed of ghz's JSON: each call.
type ghzReport struct {
	Details []struct {
		Timestamp time.Time `json:"timestamp"`
		Latency   int64     `json:"latency"` // nanoseconds
		Status    string    `json:"status"`
	} `json:"details"`
}

func readGhz(output []byte, measured time.Duration) (t turn, err error) {
	var r ghzReport
	if err := json.Unmarshal(output, &r); err != nil {
		return t, err
	}
	if len(r.Details) == 0 {
		return t, errors.New("it made no call")
	}
	// Details come in the order of the calls' ends.
	begin := r.Details[0].Timestamp
	for _, d := range r.Details {
		if d.Timestamp.Before(begin) {
			begin = d.Timestamp
		}
	}
	begin = begin.Add(warmUp)
	var latencies []int64
	for _, d := range r.Details {
		if d.Timestamp.Before(begin) || !d.Timestamp.Before(begin.Add(measured)) {
			continue
		}
		if d.Status != "OK" {
			continue // what was cut at the end
		}
		latencies = append(latencies, d.Latency)
	}
	if len(latencies) == 0 {
		return t, errors.New("no call was answered after the first second")
	}
	slices.Sort(latencies)
	t.callsPerSecond = float64(len(latencies)) / measured.Seconds()
	t.p50 = time.Duration(latencies[len(latencies)/2])
	t.p99 = time.Duration(latencies[len(latencies)*99/100])
	return t, nil
}

// readLog reads the log of echo-client, from its second second on.
func readLog(output []byte, _ time.Duration) (t turn, err error) {
	var answered int64
	var took time.Duration
	latencies := latency.New()
	for line, err := range calllog.Read(bytes.NewReader(output)) {
		if err != nil {
			return t, err
		}
		w, ok := line.(*calllog.Window)
		if !ok || w.Seq == 1 {
			continue
		}
		h, err := latency.Decode(w.LatencyHDR)
		if err != nil {
			return t, err
		}
		latencies.Merge(h)
		took += w.End.Sub(w.Start)
		for _, n := range w.Servers {
			answered += n
		}
	}
	if answered == 0 {
		return t, errors.New("no call was answered after the first second")
	}
	p := latencies.Percentiles()
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return turn{callsPerSecond: float64(answered) / took.Seconds(), p50: ms(p.P50), p99: ms(p.P99)}, nil
}

// add lets the client have its turns of a round.
func (c client) add(ctx context.Context, cfg config, to *callpath.Program, alone bool) error {
	t, clientCPU, serverCPU, err := c.take(ctx, inFlight, cfg.time)
	if err != nil {
		return err
	}
	to.CallsPerSecond = append(to.CallsPerSecond, t.callsPerSecond)
	to.ClientCPU = append(to.ClientCPU, clientCPU)
	to.ServerCPU = append(to.ServerCPU, serverCPU)
	if !alone {
		return nil
	}
	if t, _, _, err = c.take(ctx, 1, cfg.time); err != nil {
		return err
	}
	to.P50 = append(to.P50, micros(t.p50))
	return nil
}
