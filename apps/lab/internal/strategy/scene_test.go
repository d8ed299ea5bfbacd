package strategy_test

import (
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// The timetable of every scene, in seconds: three clients call 50 times a second
// from 0 to 46; three servers become six, and then one of the first three goes.
const (
	steadyBegin, steadyEnd = 2, 12
	outChange, outEnd      = 13, 28
	addedReady             = 15
	leftChange, leftEnd    = 29, 46
)

var (
	dns       = observe.DNS{TTL: 5 * time.Second, Cache: 5 * time.Second}
	originals = []string{"s1", "s2", "s3"}
	added     = []string{"s4", "s5", "s6"}
	clients   = []string{"c1", "c2", "c3"}
)

func at(seconds float64) time.Time {
	return time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// newFacts are those of a strategy of which nothing has been seen.
func newFacts(name, namespace string) *observe.Facts {
	s := observe.Subject{Strategy: name, Namespace: namespace, DNS: dns}
	for _, known := range strategy.All() {
		s.ByName = s.ByName || known.Name == name && known.ByName
	}
	return observe.NewFacts(s)
}

// scene is what is seen of a strategy whose client number i calls those servers
// in turn in the second that begins at s.
func scene(name string, servers func(i, s int) []string) *observe.Facts {
	f := newFacts(name, "grpc-lb-"+name)
	f.Phases = map[string]*observe.Phase{
		strategy.Steady: {Begin: at(steadyBegin), Change: at(steadyBegin), End: at(steadyEnd), Clients: clients, Servers: originals},
		strategy.ScaleOut: {
			Begin: at(outChange), Change: at(outChange), End: at(outEnd), Clients: clients, Servers: originals, Added: added,
		},
		strategy.ServerLeaves: {
			Begin: at(leftChange), Change: at(leftChange), End: at(leftEnd), Clients: clients,
			Servers: append(append([]string{}, originals...), added...), Added: []string{"s7"}, Left: "s1",
		},
	}
	event := func(second float64, servers ...string) {
		ready := map[string]string{}
		for _, s := range servers {
			ready[s] = "10.0.0." + s[1:]
			if _, known := f.Ready[s]; !known {
				f.Ready[s] = at(second)
			}
		}
		f.Endpoints = append(f.Endpoints, observe.EndpointEvent{At: at(second), Ready: ready})
	}
	event(-1, "s1", "s2", "s3")
	event(addedReady, "s1", "s2", "s3", "s4", "s5", "s6")
	event(leftChange+.1, "s2", "s3", "s4", "s5", "s6")
	event(leftChange+2, "s2", "s3", "s4", "s5", "s6", "s7")

	counted := distribution.Counts{}
	for i, name := range clients {
		c := &observe.Client{Started: at(0), First: map[string]time.Time{}, Ended: true, Summary: &calllog.Summary{}}
		turn := 0
		sum := distribution.Counts{}
		for s := range leftEnd {
			w := calllog.Window{Seq: s + 1, Start: at(float64(s)), End: at(float64(s + 1)), Issued: 50, Calls: 50, Servers: map[string]int64{}, Barrier: true}
			for range 50 {
				choice := servers(i, s)
				server := choice[turn%len(choice)]
				turn++
				w.Servers[server]++
				if _, known := c.First[server]; !known {
					c.First[server] = at(float64(s) + .2)
				}
			}
			sum = sum.Plus(w.Servers)
			c.Windows = append(c.Windows, w)
		}
		c.Summary.Calls, c.Summary.Issued, c.Summary.Servers = sum.Total(), sum.Total(), sum
		counted = counted.Plus(sum)
		f.Clients[name] = c
	}
	for _, s := range []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7"} {
		n := counted[s]
		f.Servers[s] = &observe.Server{Calls: &n, Ended: true}
	}
	return f
}

// pinned is l4: client number i stays on server number i.
func pinned() *observe.Facts {
	f := scene("l4", func(i, s int) []string {
		if i == 0 && s >= leftChange+5 {
			return []string{"s4"}
		}
		return originals[i : i+1]
	})
	opened := &strategy.Fresh{Wanted: 300, Servers: originals, Summary: calllog.Summary{Servers: map[string]int64{"s1": 92, "s2": 110, "s3": 98}}}
	f.Phases[strategy.FreshConnections] = &observe.Phase{Evidence: opened}
	for s, n := range opened.Summary.Servers {
		*f.Servers[s].Calls += n
	}
	return f
}

// trailing is dns: clients see the new pods only when a server left.
func trailing() *observe.Facts {
	f := scene("dns", func(_, s int) []string {
		if s >= leftChange+5 {
			return []string{"s2", "s3", "s4", "s5", "s6"}
		}
		return originals
	})
	seen := &strategy.Lookups{}
	f.Phases[strategy.ScaleOut].Evidence = seen
	for _, second := range []float64{17, 19, 21.5} {
		l := strategy.Lookup{At: at(second), Ready: addresses(6), Since: at(addedReady), Addresses: addresses(3)}
		if second > 20 {
			l.Addresses = addresses(6)
		}
		seen.All = append(seen.All, l)
	}
	return f
}

func addresses(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("10.0.0.%d", i+1))
	}
	return all
}

// following is any strategy whose clients' calls reach new pods in the second in
// which they are ready.
func following(name string) *observe.Facts {
	return scene(name, func(_, s int) []string {
		switch {
		case s >= leftChange+2:
			return []string{"s2", "s3", "s4", "s5", "s6", "s7"}
		case s >= leftChange:
			return []string{"s2", "s3", "s4", "s5", "s6"}
		case s >= addedReady:
			return []string{"s1", "s2", "s3", "s4", "s5", "s6"}
		}
		return originals
	})
}

// watching is k8s-api.
func watching() *observe.Facts {
	f := following("k8s-api")
	for _, c := range clients {
		f.Requests = append(f.Requests,
			observe.Request{Pod: c, At: at(0), Verb: "list", Resource: "endpointslices.discovery.k8s.io", Code: 200},
			observe.Request{Pod: c, At: at(.1), Verb: "watch", Resource: "endpointslices.discovery.k8s.io", Code: 200},
		)
	}
	return f
}

// sidecars is istio: every client calls all servers through its proxy, and one
// without a proxy stays on one.
func sidecars() *observe.Facts {
	f := scene("istio", func(int, int) []string { return originals })
	steady := *f.Phases[strategy.Steady]
	away, seen := steady, &strategy.Proxied{}
	steady.Evidence = seen
	f.Phases[strategy.ThroughSidecar], f.Phases[strategy.ControlPlaneAway] = &steady, &away
	f.Differs = &[]string{}
	for _, name := range []string{"p1", "p2", "p3"} {
		seen.Clients = append(seen.Clients, strategy.Sidecar{
			Client:  name,
			Summary: calllog.Summary{Servers: map[string]int64{"s1": 340, "s2": 330, "s3": 330}},
			Sent:    map[string]int64{"s1": 340, "s2": 330, "s3": 330},
		})
	}
	seen.Bare = &calllog.Summary{Servers: map[string]int64{"s2": 1000}}
	seen.Handshakes = strategy.Handshakes{"s1": 6, "s2": 7, "s3": 6}
	for s, n := range map[string]int64{"s1": 3 * 340, "s2": 3*330 + 1000, "s3": 3 * 330} {
		*f.Servers[s].Calls += n
	}
	return f
}

// nodeProxies is linkerd on two nodes.
func nodeProxies() *observe.Facts {
	f := following("linkerd")
	steady := *f.Phases[strategy.Steady]
	seen := &strategy.ThroughProxies{}
	steady.Evidence = seen
	f.Phases[strategy.ThroughNodes] = &steady
	for i, node := range []string{"n1", "n2"} {
		seen.Reached = append(seen.Reached, strategy.Reach{Node: node, Summary: calllog.Summary{Servers: map[string]int64{"s1": 3, "s2": 2}}})
		counted := map[string]int64{"n1": 0, "n2": 0}
		counted[node] = 500
		seen.Through = append(seen.Through, strategy.NodeProxy{
			Node: node, Counted: counted, Summary: calllog.Summary{Servers: map[string]int64{originals[i]: 500}},
		})
		*f.Servers[originals[i]].Calls += 500
	}
	*f.Servers["s1"].Calls += 6
	*f.Servers["s2"].Calls += 4
	f.Preflight = &observe.Preflight{Rights: 3, Nodes: 2, Objects: 14}
	return f
}

// standingProxies is envoy.
func standingProxies() *observe.Facts {
	f := following("envoy")
	drains := *f.Phases[strategy.ServerLeaves]
	broken := drains
	f.Phases[strategy.ProxyDrains], f.Phases[strategy.BrokenConfiguration] = &drains, &broken
	broken.Evidence = &strategy.Rollout{Before: []string{"e1", "e2"}, After: []string{"e1", "e2"}, New: "e3", Why: "exit code 1"}
	return f
}

// proxyless is xds.
func proxyless() *observe.Facts {
	f := following("xds")
	seen := &strategy.Listed{Processes: map[string][]string{}}
	f.Phases[strategy.Processes] = &observe.Phase{Evidence: seen}
	for _, c := range clients {
		seen.Processes[c] = []string{"echo-client-xds", "pause", "pilot-agent"}
	}
	return f
}

// aged is l4 whose connections end after ten seconds, and then lead to another
// server.
func aged() *observe.Facts {
	const age = 10
	f := scene("l4-max-age", func(i, s int) []string {
		turn := s/age + i
		if s >= addedReady {
			return []string{append(append([]string{}, originals...), added...)[turn%6]}
		}
		return []string{originals[turn%3]}
	})
	f.ConnectionAge = age * time.Second
	for _, c := range f.Clients {
		for s := age; s < len(c.Windows); s += age {
			c.Windows[s].Opened = 1
		}
	}
	return f
}

// agedNames is dns with the same.
func agedNames() *observe.Facts {
	f := following("dns-max-age")
	f.ConnectionAge = 10 * time.Second
	return f
}

// What only one experiment gathered of a scene.
func fresh(f *observe.Facts) *strategy.Fresh {
	return observe.EvidenceOf[*strategy.Fresh](f, strategy.FreshConnections)
}

func lookups(f *observe.Facts) *strategy.Lookups {
	return observe.EvidenceOf[*strategy.Lookups](f, strategy.ScaleOut)
}

func proxied(f *observe.Facts) *strategy.Proxied {
	return observe.EvidenceOf[*strategy.Proxied](f, strategy.ThroughSidecar)
}

func throughNodes(f *observe.Facts) *strategy.ThroughProxies {
	return observe.EvidenceOf[*strategy.ThroughProxies](f, strategy.ThroughNodes)
}

func rollout(f *observe.Facts) *strategy.Rollout {
	return observe.EvidenceOf[*strategy.Rollout](f, strategy.BrokenConfiguration)
}

func listed(f *observe.Facts) *strategy.Listed {
	return observe.EvidenceOf[*strategy.Listed](f, strategy.Processes)
}

func turns(f *observe.Facts) *strategy.TurnsTaken {
	return observe.EvidenceOf[*strategy.TurnsTaken](f, strategy.Turns)
}

// renameServer lets another pod, whose log nobody reads, have answered a server's calls.
func renameServer(f *observe.Facts, server, pod string) {
	rename := func(counts map[string]int64) {
		if n, ok := counts[server]; ok {
			counts[pod] = n
			delete(counts, server)
		}
	}
	for _, c := range f.Clients {
		rename(c.Summary.Servers)
		for _, w := range c.Windows {
			rename(w.Servers)
		}
	}
	delete(f.Servers, server)
}
