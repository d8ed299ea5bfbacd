package external

// What only tests outside of the package reach for.
var (
	Skew      = skew
	Leftovers = leftovers
)
