package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The first second of ghz and what it cut at the end do not count.
func TestReadGhz(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var details []string
	add := func(after, took time.Duration, status string) {
		details = append(details, fmt.Sprintf(`{"timestamp":%q,"latency":%d,"status":%q}`, begin.Add(after).Format(time.RFC3339Nano), took, status))
	}
	add(100*time.Millisecond, time.Second, "OK") // ended after the next one began
	add(0, time.Second, "OK")                    // warm-up
	for i := range 100 {
		add(time.Second+time.Duration(i)*10*time.Millisecond, time.Duration(i+1)*time.Millisecond, "OK")
	}
	add(1990*time.Millisecond, time.Minute, "Canceled")
	add(2*time.Second, time.Minute, "OK") // after the time
	got, err := readGhz([]byte(`{"details":[`+strings.Join(details, ",")+`]}`), time.Second)
	if want := (turn{callsPerSecond: 100, p50: 51 * time.Millisecond, p99: 100 * time.Millisecond}); err != nil || got != want {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
}

// What programs print that did not work is an error, not a figure.
func TestReadNothing(t *testing.T) {
	for name, read := range map[string]func([]byte, time.Duration) (turn, error){"ghz": readGhz, "benchmark": readBenchmark, "log": readLog} {
		for _, output := range []string{"", "{}", `{"details":[]}`, `{"msg":"start"}`, `{"details":[{"timestamp":"2026-01-02T03:04:05Z","latency":1,"status":"Unavailable"}]}`} {
			if got, err := read([]byte(output), time.Second); err == nil {
				t.Errorf("%s reads %q as %+v, want an error", name, output, got)
			}
		}
	}
}

// The figures of grpc-go's benchmark are read in each unit that it prints.
func TestReadBenchmark(t *testing.T) {
	got, err := readBenchmark([]byte("qps: 32190.333333333332\nLatency: (50/90/99 %ile): 145.037µs/3.360411ms/6.506849ms\nClient CPU utilization: 1s\n"), time.Second)
	if want := (turn{callsPerSecond: 32190.333333333332, p50: 145037 * time.Nanosecond, p99: 6506849 * time.Nanosecond}); err != nil || got != want {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
}
