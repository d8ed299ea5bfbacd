// Package distribution judges who answered: it counts calls per server and says how
// evenly they were spread, whether that spread can be chance, and how soon each
// server was called. It is pure: no clock, no I/O, no randomness.
package distribution
