// Package client is the command line that all client programs share: its flags,
// signals and exit codes. Package loadgen makes the calls.
package client
