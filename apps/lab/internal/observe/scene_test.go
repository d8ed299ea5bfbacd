package observe_test

import "time"

// at is a moment of every scene.
func at(seconds float64) time.Time {
	return time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}
