// Package latency records how long calls took, in microseconds with three
// significant digits, and turns histograms into what the log lines carry. The
// histograms of several windows or clients can be merged without loss.
package latency

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

const (
	highest = time.Hour
	digits  = 3
)

// Histogram counts latencies. It is not safe for concurrent use.
type Histogram struct {
	hdr *hdrhistogram.Histogram
}

// New returns an empty histogram.
func New() *Histogram {
	return &Histogram{hdr: hdrhistogram.New(1, highest.Microseconds(), digits)}
}

// Decode reads a histogram from the text that Encode wrote.
func Decode(text string) (*Histogram, error) {
	hdr, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("latency: %.60q is no HdrHistogram in base64: %w", text, err)
	}
	return &Histogram{hdr: hdr}, nil
}

// Record counts one call. What lies outside 1 us to 1 h is counted at that end,
// so that the number of recorded calls is always the number of calls.
func (h *Histogram) Record(d time.Duration) {
	d = max(time.Microsecond, min(d, highest))
	if err := h.hdr.RecordValue(d.Microseconds()); err != nil {
		panic(err) // the value is within the histogram's range
	}
}

// Merge adds the calls of other.
func (h *Histogram) Merge(other *Histogram) { h.hdr.Merge(other.hdr) }

// Count returns the number of calls.
func (h *Histogram) Count() int64 { return h.hdr.TotalCount() }

// Percentiles returns the percentiles that the log shows.
func (h *Histogram) Percentiles() calllog.Latency {
	ms := func(percentile float64) float64 { return float64(h.At(percentile).Microseconds()) / 1000 }
	return calllog.Latency{P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9)}
}

// At returns the latency that so many per cent of the calls did not exceed, 0 to 100;
// zero without a call.
func (h *Histogram) At(percentile float64) time.Duration {
	if h.hdr.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.hdr.ValueAtPercentile(percentile)) * time.Microsecond
}

// Encode returns the histogram in HdrHistogram's compressed V2 format as base64,
// which the libraries of all languages read.
func (h *Histogram) Encode() (string, error) {
	b, err := h.hdr.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("latency: encoding the histogram: %w", err)
	}
	return string(b), nil
}
