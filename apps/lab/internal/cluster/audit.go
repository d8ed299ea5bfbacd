package cluster

import _ "embed"

// AuditPolicy is what an API server logs on a cluster that the lab boots.
//
//go:embed audit-policy.yaml
var AuditPolicy string
