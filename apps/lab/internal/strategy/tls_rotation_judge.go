package strategy

import (
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// rotates is the limit of certificates that are replaced: lossless, and soon in use.
type rotates struct {
	lossless
	// Within is how soon every pod uses a certificate: the kubelet's period, up to 90 s, and
	// the programs'.
	Within time.Duration
}

func (l rotates) Sentence(dns observe.DNS) string {
	return fmt.Sprintf("%s; new connections have the new certificate within %s of the Secret's change", l.lossless.Sentence(dns), runner.Seconds(l.Within))
}

// rotated wants every step to be seen by every pod, the clients to be answered by servers
// that started with the other authority's certificate, new connections after all, and no
// call lost meanwhile.
func rotated(f *observe.Facts, p *observe.Phase, limit rotates) runner.Verdict {
	seen := observe.EvidenceOf[*Rotation](f, TLSRotation)
	if seen == nil || len(seen.Steps) == 0 {
		return runner.NotRun("no certificate was replaced")
	}
	for _, s := range seen.Steps {
		if len(s.Pods) == 0 {
			return runner.NotRun("%s: no server was there", s.What)
		}
		switch after, never := s.slowest(); {
		case never != "":
			return runner.Decided(false, "%s: %s did not have it in %s", s.What, never, runner.Seconds(rotateTimeout))
		case after > limit.Within:
			return runner.Decided(false, "%s: the last pod had it after %s", s.What, runner.Seconds(after.Round(10*time.Millisecond)))
		}
	}
	if seen.Fresh == nil || len(seen.Replaced) == 0 {
		return runner.NotRun("%d servers were replaced, and new connections were not opened after all", len(seen.Replaced))
	}
	if missed := unanswered(f, p.Clients, seen.Replaced); missed != "" {
		return runner.Decided(false, "%s was answered by no server that started with the other authority's certificate", missed)
	}
	if answered := distribution.Counts(seen.Fresh.Summary.Servers).Total(); answered != rotateFresh {
		return runner.Decided(false, "%d of %d new connections carried a call after all: %s", answered, rotateFresh, seen.Fresh.Failure)
	}
	if other := otherCertificate(seen.Fresh.Log, seen.Serial); other != "" {
		return runner.Decided(false, "new connections were given %s, expected the certificate %s", other, seen.Serial)
	}
	served := undisturbed(f, p, limit.lossless)
	if served.Status != report.Proven {
		return served
	}
	first := seen.Steps[0]
	after, _ := first.slowest()
	soonest := after
	for _, at := range first.Seen {
		soonest = min(soonest, at.Sub(first.At))
	}
	served.Measured = fmt.Sprintf("%d servers, proxies and clients have the new certificate %s to %s after the Secret's change; then another authority, %d servers replaced, %d new connections: %s",
		len(first.Pods), runner.Seconds(soonest.Round(10*time.Millisecond)), runner.Seconds(after.Round(10*time.Millisecond)), len(seen.Replaced), rotateFresh, served.Measured)
	return served.With("%s, %s", runner.Seconds(after.Round(10*time.Millisecond)), served.Figure)
}

// otherCertificate says what a client was shown that is not the certificate, or "".
func otherCertificate(log []calllog.Line, serial string) string {
	shown := 0
	for _, line := range log {
		if peer, ok := line.(*calllog.Peer); ok {
			if shown++; peer.Serial != serial {
				return "the certificate " + peer.Serial
			}
		}
	}
	if shown == 0 {
		return "no certificate"
	}
	return ""
}

// unanswered returns a client whom none of the servers has answered, or "".
func unanswered(f *observe.Facts, clients, servers []string) string {
	for _, client := range clients {
		if !slices.ContainsFunc(servers, func(server string) bool {
			_, called := f.Clients[client].First[server]
			return called
		}) {
			return client
		}
	}
	return ""
}

// uncalled says which client has not called which of the servers, or "".
func uncalled(f *observe.Facts, clients, servers []string) string {
	for _, client := range clients {
		for _, server := range servers {
			if _, called := f.Clients[client].First[server]; !called {
				return client + " has not called " + server
			}
		}
	}
	return ""
}
