// Package report holds the result of a run as data, the table that people read
// and the exit code that scripts read. It does no measuring.
package report

//go:generate go test . -update
//go:generate go test ./costs -update
