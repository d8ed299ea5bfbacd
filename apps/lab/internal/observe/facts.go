package observe

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// Subject is what is observed, as it is known before anything runs.
type Subject struct {
	Strategy  string
	Namespace string
	// Server and Client name the overlay's Deployments, their pods by label and
	// the containers in them. Empty ones are those of base.
	Server, Client string
	DNS            DNS
	// ByName says that the clients learn the servers from DNS.
	ByName bool
	// ConnectionAge is the age at which the servers close a connection, 0 for
	// never.
	ConnectionAge time.Duration
	// ConnectionAgeGrace is how long calls on such a connection may still take, 0 for
	// what the servers' program does without a flag.
	ConnectionAgeGrace time.Duration
}

// Facts is everything that was seen of one strategy. Times in log lines are of
// the pods' clocks, all others of this machine's: in the built-in cluster they
// are the same.
type Facts struct {
	Subject
	// Started is when the overlay was applied.
	Started time.Time
	// Clients and Servers hold the pods' logs by pod name, of the Deployments'
	// pods that ever ran.
	Clients map[string]*Client
	Servers map[string]*Server
	// Ready holds, by pod name, when a watch first said that the server is ready.
	Ready map[string]time.Time
	// Endpoints holds every event of the servers' EndpointSlices, in order.
	Endpoints []EndpointEvent
	// Phases holds the experiments by name.
	Phases map[string]*Phase
	// Preflight is what was found before any pod ran; PreflightUnknown says why
	// nothing was.
	Preflight        *Preflight
	PreflightUnknown Reason
	// Pods holds the last state of every pod that is there, by name.
	Pods map[string]*corev1.Pod
	// Nodes holds, by pod name, the node that runs it.
	Nodes map[string]string
	// Differs lists how the rendering differs from l4's in more than it may, nil
	// where that was not looked for.
	Differs *[]string
	// Requests are what the clients asked of the API server, in order;
	// RequestsUnknown says why they are not known.
	Requests        []Request
	RequestsUnknown Reason
}

// DNS holds what decides how far the cluster's DNS trails its endpoints.
type DNS = cluster.DNS

// Client is the log of one client pod.
type Client struct {
	// Started is the time of its first line.
	Started time.Time
	Files
	// First holds when each server answered for the first time.
	First   map[string]time.Time
	Windows []calllog.Window
	Summary *calllog.Summary
	// Ended says that the log was read to its end; Trouble, if not empty, why
	// what was read cannot be all.
	Ended   bool
	Trouble string
}

// Files is what a pod's program logs of the files with its certificate.
type Files struct {
	// InUse holds when each certificate came into use, by serial number in hexadecimal.
	InUse map[string]time.Time
	// Bad holds the errors about the files, by when they were logged.
	Bad map[time.Time]string
}

// Server is the log of one server pod.
type Server struct {
	Files
	// Calls is the count that it logged when it stopped, nil before.
	Calls   *int64
	Ended   bool
	Trouble string
}

// EndpointEvent is one event of an EndpointSlice watch and what all slices
// together said after it.
type EndpointEvent struct {
	At time.Time
	// Ready maps the ready pods to their addresses.
	Ready map[string]string
}

// Phase is one experiment while it ran.
type Phase struct {
	// Begin is when the steady state held, Change when the change was made, End
	// when the observation ended. What did not happen is zero.
	Begin, Change, End time.Time
	// NotMeasured says why the experiment came to no result.
	NotMeasured Reason
	// Clients were running and Servers ready at Begin.
	Clients, Servers []string
	// Added are the servers that became ready because of the change, Left is the
	// one that was deleted.
	Added []string
	Left  string
	// Restored is when what was taken away was put back.
	Restored time.Time
	// Evidence is what this experiment alone gathers, see [EvidenceOf].
	Evidence any
}

// EvidenceOf returns what an experiment gathered beside its phase, nil where it
// gathered nothing. T is a pointer.
func EvidenceOf[T any](f *Facts, experiment string) (evidence T) {
	if p := f.Phases[experiment]; p != nil {
		evidence, _ = p.Evidence.(T)
	}
	return evidence
}

// Summaries is evidence that holds the summaries of clients which ran as Jobs.
type Summaries interface{ Summaries() []calllog.Summary }

// Probes returns the summaries of the clients that ran as Jobs.
func (f *Facts) Probes() []calllog.Summary {
	var all []calllog.Summary
	for _, p := range f.Phases {
		if evidence, ok := p.Evidence.(Summaries); ok {
			all = append(all, evidence.Summaries()...)
		}
	}
	return all
}

// Request is one request of a client to the API server.
type Request struct {
	Pod      string
	At       time.Time
	Verb     string
	Resource string // "endpointslices.discovery.k8s.io", or the path of what is no resource
	// Streamed says that a watch was asked to begin with the whole list.
	Streamed bool
	Code     int
}

// NewFacts returns facts of nothing seen yet.
func NewFacts(s Subject) *Facts {
	s.Server, s.Client = cmp.Or(s.Server, serverName), cmp.Or(s.Client, clientName)
	return &Facts{
		Subject: s, Pods: map[string]*corev1.Pod{},
		Clients: map[string]*Client{}, Servers: map[string]*Server{},
		Ready: map[string]time.Time{}, Phases: map[string]*Phase{}, Nodes: map[string]string{},
	}
}

// Phase returns an experiment that was measured, or why it was not.
func (f *Facts) Phase(name string) (*Phase, Reason) {
	p := f.Phases[name]
	switch {
	case p == nil:
		return nil, Reason{Text: "the experiment " + name + " was not run"}
	case p.NotMeasured != Reason{}:
		return nil, Reason{p.NotMeasured.Kind, name + " was not measured: " + p.NotMeasured.Text}
	}
	return p, Reason{}
}

// ReadyNow returns the pods that are ready by the last event, sorted.
func (f *Facts) ReadyNow() []string {
	if len(f.Endpoints) == 0 {
		return nil
	}
	return Keys(f.Endpoints[len(f.Endpoints)-1].Ready)
}

// Keys returns the keys of a map, sorted.
func Keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Running returns the clients whose log goes on, sorted.
func (f *Facts) Running() []string {
	var names []string
	for _, name := range Keys(f.Clients) {
		if c := f.Clients[name]; !c.Ended && c.Summary == nil {
			names = append(names, name)
		}
	}
	return names
}

// Between returns the windows that lie within the two moments.
func (c *Client) Between(from, to time.Time) []calllog.Window {
	var inside []calllog.Window
	for _, w := range c.Windows {
		if !w.Start.Before(from) && !w.End.After(to) {
			inside = append(inside, w)
		}
	}
	return inside
}

// LastBefore returns the last window that ended by then, or none.
func (c *Client) LastBefore(at time.Time) []calllog.Window {
	for i, w := range slices.Backward(c.Windows) {
		if !w.End.After(at) {
			return c.Windows[i : i+1]
		}
	}
	return nil
}

// Calls sums who answered.
func Calls(windows []calllog.Window) distribution.Counts {
	sum := distribution.Counts{}
	for _, w := range windows {
		sum = sum.Plus(w.Servers)
	}
	return sum
}

// Failures counts the failed calls of windows.
func Failures(windows []calllog.Window) int64 {
	var n int64
	for _, w := range windows {
		n += distribution.Counts(w.Failures).Total()
	}
	return n
}

// Failed counts the failed calls, and all, of the phase's clients between its
// begin and its end.
func (f *Facts) Failed(p *Phase) (failed, all int64) {
	for _, name := range p.Clients {
		windows := f.Clients[name].Between(p.Begin, p.End)
		failed += Failures(windows)
		for _, w := range windows {
			all += w.Calls
		}
	}
	return failed, all
}

// Pair is one client's first call to one added server.
type Pair struct {
	Client string
	distribution.FirstCall
}

// FirstCalls matches every client of the phase with every server that it added.
// Calls after the end of the observation count as never made.
func (f *Facts) FirstCalls(p *Phase) []Pair {
	ready := map[string]time.Time{}
	for _, server := range p.Added {
		ready[server] = f.Ready[server]
	}
	var pairs []Pair
	for _, client := range p.Clients {
		answered := map[string]time.Time{}
		for server, at := range f.Clients[client].First {
			if !at.After(p.End) {
				answered[server] = at
			}
		}
		for _, call := range distribution.FirstCalls(ready, answered) {
			pairs = append(pairs, Pair{client, call})
		}
	}
	return pairs
}

// EndpointsSince returns when the set of ready servers last changed.
func (f *Facts) EndpointsSince() time.Time {
	var since time.Time
	var ready []string
	for _, e := range f.Endpoints {
		if now := Keys(e.Ready); !slices.Equal(now, ready) {
			ready, since = now, e.At
		}
	}
	return since
}

// Watched is how long the lab went on looking after the last added server was
// ready.
func (f *Facts) Watched(p *Phase) time.Duration {
	from := p.Change
	for _, server := range p.Added {
		if at := f.Ready[server]; at.After(from) {
			from = at
		}
	}
	return p.End.Sub(from).Round(time.Second)
}

// Named replaces the addresses of servers by their names.
func (f *Facts) Named(byAddress map[string]int64) map[string]int64 {
	all := map[string]int64{}
	for address, n := range byAddress {
		name := address
		for _, e := range f.Endpoints {
			for pod, its := range e.Ready {
				if its == address {
					name = pod
				}
			}
		}
		all[name] += n
	}
	return all
}
