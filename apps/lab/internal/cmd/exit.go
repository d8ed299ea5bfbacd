package main

import (
	"errors"
	"fmt"
	"strings"
)

// The exit codes of every command, each with one meaning.
const (
	exitOK        = 0
	exitFindings  = 1
	exitUsage     = 2
	exitNoCluster = 3
	exitUndecided = 4
)

// exit is a code and what it means.
type exit struct {
	code    int
	meaning string
}

// exitCodes says what each code means, for help and for apps/lab/README.md.
var exitCodes = []exit{
	{exitOK, "no problem was found, and everything that is required is proven"},
	{exitFindings, "a claim is refuted or a required one is not proven, a rule is violated, a manifest differs, a flag of --gate is raised, or the work failed"},
	{exitUsage, "the command line or the checkout is wrong; for diff, any error"},
	{exitNoCluster, "no cluster could be booted, reached or used"},
	{exitUndecided, "no problem was found, but not everything could be judged"},
}

// changed are the codes of commands that write files of the checkout.
var changed = []exit{{exitOK, "done"}, {exitUsage, "wrong usage, and nothing is changed"}}

// exitHelp lists codes for help.
func exitHelp(codes ...exit) string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "  %d  %s\n", c.code, c.meaning)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// exitError is an error with the exit code that it means.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// errSaid goes with an exit code that needs no words beside the output.
var errSaid = errors.New("see the output")
