//go:build race

package endurance_test

const raceEnabled = true
