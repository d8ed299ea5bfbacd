// Package gc sets how often the programs' garbage is collected.
package gc

import (
	"os"
	"runtime/debug"
)

// percent is that of GOGC: how much a heap may grow between collections.
const percent = 400

// Rare makes collections rare, unless GOGC says how often they are. At full speed the
// programs keep some MB but make some hundred of them a second: Go's default would collect
// them some fifty times a second, for a sixth of their CPU time.
func Rare() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
