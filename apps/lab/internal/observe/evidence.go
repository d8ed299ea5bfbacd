package observe

// Preflight is what was found of a strategy before any of its pods ran.
type Preflight struct {
	// Rights counts what the proxies' account may do of what they need, Nodes the
	// nodes whose ports are free, Objects what the API server accepts.
	Rights, Nodes, Objects int
	// Problems says what would keep the pods from working.
	Problems []string
}
