package builtin

import "github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"

var kind = provider.Kind{Name: "builtin", Usage: true}
