// Package plan decides what a run builds, installs and measures, and does it:
//
//	Options, Target -> Plan (pure) -> Supplies (images on the nodes) -> report.Result
//
// A Plan is not changed once it is made. What building brings, and which strategies
// it makes impossible, is in Supplies.
package plan
