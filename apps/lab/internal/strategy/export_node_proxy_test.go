package strategy

// What tests of node proxies reach for.
var (
	Cold = cold
)

// WarmCalls is how many answers in a row tests come up to.
const WarmCalls = warmCalls
