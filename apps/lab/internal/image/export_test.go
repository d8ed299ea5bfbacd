package image

// What only tests outside of the package reach for.
var (
	ParseLDD = parseLDD
	PullBy   = pull
)
