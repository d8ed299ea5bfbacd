package endurance_test

import (
	"time"

	"golang.org/x/sys/windows"
)

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var started, ended, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &started, &ended, &kernel, &user); err != nil {
		panic(err)
	}
	return span(kernel) + span(user)
}

// span converts a length of time in units of 100 ns.
func span(f windows.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}
