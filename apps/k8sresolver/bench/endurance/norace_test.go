//go:build !race

package endurance_test

const raceEnabled = false
