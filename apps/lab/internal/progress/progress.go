// Package progress shows long work as numbered steps: one live line on a
// terminal, plain lines elsewhere.
package progress

// Reporter receives what long work is doing. Its methods are safe for
// concurrent use.
type Reporter interface {
	// Step starts a named step and returns what ends it: nil for success.
	Step(name string) (end func(err error))
	// Detail says how far the running step is, such as "312 of 1,204 packages, 2m left".
	Detail(step, text string)
}
