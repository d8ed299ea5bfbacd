package loadgen

import "time"

const (
	windowLength = time.Second
	// barrierWait is how long a window may overrun while calls are in flight.
	barrierWait = windowLength / 4
)

// runWindows ends the tally's windows until stop is closed. The grid is fixed,
// so that an overrun delays no later window.
func runWindows(t *tally, start time.Time, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	until := func(moment time.Time) bool {
		timer.Reset(time.Until(moment))
		select {
		case <-timer.C:
			return true
		case <-stop:
			return false
		}
	}
	for end := start.Add(windowLength); until(end); end = end.Add(windowLength) {
		t.ripen()
		if !until(end.Add(barrierWait)) {
			return
		}
		t.cutIfRipe()
	}
}
