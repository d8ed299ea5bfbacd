// Package echopb is the Go code generated from proto/echo.proto, the wire
// contract of servers, and proto/control.proto, that of the admin ports.
package echopb

//go:generate go tool -modfile=../../apps/lab/components/buf/go.mod buf generate .. --template ../buf.gen.yaml
