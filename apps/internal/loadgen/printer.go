package loadgen

import (
	"context"
	"fmt"
	"io"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// Printer writes lines; one goroutine uses it.
type Printer interface {
	Print(calllog.Line) error
}

// JSON writes each line as JSON, for those who measure.
type JSON struct{ W io.Writer }

// Print writes the line in a single Write.
func (p JSON) Print(line calllog.Line) error {
	b, err := calllog.Encode(line)
	if err != nil {
		return err
	}
	_, err = p.W.Write(b)
	return err
}

// printAll prints events until the channel is closed. When printing fails it
// stops the calls, because nobody learns of them, and drains the channel.
func printAll(events <-chan event, printer Printer, stop context.CancelCauseFunc) error {
	var failed error
	for e := range events {
		if failed != nil {
			continue
		}
		if window, ok := e.line.(*calllog.Window); ok {
			window.Latency = e.hist.Percentiles()
			window.LatencyHDR, failed = e.hist.Encode()
		}
		if failed == nil {
			failed = printer.Print(e.line)
		}
		if failed != nil {
			failed = fmt.Errorf("writing the output: %w", failed)
			stop(failed)
		}
	}
	return failed
}
