// Package echopb is the Go code generated from proto/echo.proto.
package echopb

//go:generate go tool -modfile=../../apps/lab/components/buf/go.mod buf generate .. --template ../buf.gen.yaml
