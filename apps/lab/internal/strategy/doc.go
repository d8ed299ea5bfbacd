// Package strategy holds what is known about each strategy. A file declares one:
// how an overlay is recognised as it, what it may do, what is claimed about it,
// and the experiments that only it makes. Each experiment that every strategy
// makes has a file, too. [All] joins them; package runner runs them.
//
// Claims are judged by pure functions of what was seen. The limit of a claim is a
// value that prints its own sentence, see limits.go.
package strategy

//go:generate go test . -run Sentences -update
