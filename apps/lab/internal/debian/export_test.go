package debian

import "time"

// SetRetry lets locked lists be asked for again after another time.
func SetRetry(d time.Duration) { retry = d }
