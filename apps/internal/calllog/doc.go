// Package calllog is the contract between echo-client, which writes these
// lines as JSON on standard output, and the programs that read them.
//
// Every line has the shape of log/slog: time, level, msg, then its own fields.
// Two rules tie the lines together: in a window, calls is the sum of servers and
// failures; and the sum of all windows is the summary, whose totals come from
// counters of their own.
package calllog
