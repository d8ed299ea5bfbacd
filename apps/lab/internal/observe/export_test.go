package observe

// What only tests outside of the package reach for.
var (
	ReadStamped  = readStamped
	ReadAudit    = readAudit
	ReadyPods    = readyPods
	IngestClient = ingestClient
	IngestServer = ingestServer
	Follow       = follow
)
