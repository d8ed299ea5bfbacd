package experiment

// Outcome is what tests of node proxies reach for.
var Outcome = outcome
