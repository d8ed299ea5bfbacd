package inspect

import (
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Workloads counts what a snapshot keeps of the pods.
func (s *Snapshot) Workloads() int { return len(manifest.Workloads(s.objects)) }

// ByTraffic judges a Service with that many ready servers by what clients called.
func ByTraffic(ready int, missing []string, seen ...distribution.Counts) *Service {
	s := &Service{Name: "cart", Verdict: balance.Undecided, Clients: []Client{{}}, ready: make([]string, ready)}
	var readings []*reading
	for _, counts := range seen {
		readings = append(readings, &reading{source: source{what: "channelz of clients"}, counts: counts})
	}
	s.judgeTraffic(readings, missing, 5*time.Second)
	return s
}

// Since is since.
var Since = since

// CallsCounted is callsCounted.
var CallsCounted = callsCounted

// BySum judges a Service by what each of its servers counted of that many client pods.
func BySum(clients int, servers distribution.Counts) *Service {
	s := &Service{Name: "cart", Verdict: balance.Undecided}
	var readings []*reading
	for _, server := range servers.Servers() {
		readings = append(readings, &reading{pod: server, counts: distribution.Counts{server: servers[server]}})
	}
	s.judgeSum(readings, clients, 5*time.Second)
	return s
}
