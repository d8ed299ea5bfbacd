package inspect

import "github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"

// Workloads counts what a snapshot keeps of the pods.
func (s *Snapshot) Workloads() int { return len(manifest.Workloads(s.objects)) }
