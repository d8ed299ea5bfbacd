package loadgen

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
)

// manyServers is from how many on a window line shows their number and range
// instead of each one.
const manyServers = 7

// Text writes lines for people.
type Text struct{ W io.Writer }

// Print writes the line, the summary as several.
func (p Text) Print(line calllog.Line) error {
	_, err := io.WriteString(p.W, line.Head().Time.Local().Format("15:04:05.000")+"  "+text(line)+"\n")
	return err
}

func text(line calllog.Line) string {
	switch l := line.(type) {
	case *calllog.Start:
		return fmt.Sprintf("calling %s, policy %s, %s", l.Target, l.Policy, how(l))
	case *calllog.FirstAnswer:
		return "first answer of " + l.Server + where(l.Reply.GetNode(), l.Reply.GetZone())
	case *calllog.Peer:
		return fmt.Sprintf("%s shows the certificate %s of %q, valid until %s: verified as %q by %s",
			l.Address, l.Serial, cmp.Or(l.SPIFFEID, l.Subject), l.NotAfter.Format(time.RFC3339), l.ServerName, l.TLS)
	case *calllog.Failure:
		return fmt.Sprintf("failed: %s: %s", l.Code, l.Error)
	case *calllog.Window:
		return fmt.Sprintf("%d calls  %s%s  p50 %.1f  p99 %.1f ms  %s", l.Calls, perServer(l.Servers), failures(l.Failures),
			l.Latency.P50, l.Latency.P99, plural(l.Connections, "connection"))
	case *calllog.StreamEnd:
		return strings.TrimSuffix(fmt.Sprintf("stream to %s ended after %s and %s: %s: %s", l.Server, l.Time.Sub(l.Opened).Round(time.Millisecond), plural(l.Calls, "call"), l.Code, l.Error), ": ")
	case *calllog.Summary:
		return summary(l)
	case *calllog.Resolved:
		return fmt.Sprintf("%s is %s", l.Target, strings.Join(l.Addresses, " "))
	}
	return line.Head().Msg
}

func how(l *calllog.Start) string {
	switch {
	case l.FreshConnections > 0:
		return fmt.Sprintf("one call on each of %s, %d at a time", plural(l.FreshConnections, "fresh connection"), l.Concurrency)
	case l.Rate > 0:
		return fmt.Sprintf("%g calls/s", l.Rate)
	}
	return plural(int64(l.Concurrency), "caller") + ", each with one call at a time"
}

func where(node, zone string) string {
	if node == "" {
		return ""
	}
	if zone == "" {
		return " on " + node
	}
	return " on " + node + " in " + zone
}

func perServer(servers distribution.Counts) string {
	if len(servers) >= manyServers {
		counts := slices.Collect(maps.Values(servers))
		return fmt.Sprintf("%d servers, %d to %d each", len(servers), slices.Min(counts), slices.Max(counts))
	}
	if len(servers) == 0 {
		return "no answer"
	}
	var each []string
	for _, server := range servers.Servers() {
		each = append(each, fmt.Sprintf("%s %d", server, servers[server]))
	}
	return strings.Join(each, "  ")
}

func failures(byCode map[string]int64) string {
	var b strings.Builder
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		fmt.Fprintf(&b, "  FAILED %d %s", byCode[code], code)
	}
	return b.String()
}

func summary(l *calllog.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s, %s\n", plural(l.Calls, "call"), failures(l.Failures), plural(l.Opened, "connection"))
	for _, server := range distribution.Counts(l.Servers).Servers() {
		fmt.Fprintf(&b, "  %6.2f %%  %8d  %s\n", 100*l.Share[server], l.Servers[server], server)
	}
	fmt.Fprintf(&b, "  Jain %.4f  peak to mean %.2f  p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f ms",
		l.Jain, l.PeakToMean, l.Latency.P50, l.Latency.P90, l.Latency.P99, l.Latency.P999)
	return b.String()
}

func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
