// Package client is the command line that all client programs share: its flags,
// signals and exit codes. What makes the calls is package caller.
package client
