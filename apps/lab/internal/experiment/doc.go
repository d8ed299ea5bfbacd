// Package experiment measures strategies on a running cluster and judges what
// it saw.
//
// Three tables say what is done; each addition touches one of them:
//
//	strategies.go   an overlay, who balances in it and what it runs
//	experiments.go  a change and what is asserted about it
//	claims.go       a sentence, its limit, and the function that decides it
//
// Around them, an arena runs one strategy in its own namespace: it applies the
// overlay, watches endpoints and pods, follows every log, and writes all of it
// into Facts. Claims and findings are pure functions of Facts, evaluated once,
// after the last log has ended.
package experiment
