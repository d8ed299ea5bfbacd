package inspect

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Service is what was found about one gRPC Service.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Verdict is by traffic if there was any, else by the objects.
	Verdict balance.Verdict `json:"verdict"`
	// ByObjects is the verdict without traffic, and Measured says that Verdict is by
	// traffic.
	ByObjects balance.Verdict `json:"verdict_by_objects"`
	Measured  bool            `json:"measured"`
	// Endpoints, Resolved and Traffic are what the EndpointSlices, the Service's name
	// and its clients' channels say.
	Endpoints string `json:"endpoints"`
	Resolved  string `json:"resolved"`
	Traffic   string `json:"traffic"`
	// Ready and Pods count the pods of the endpoints. Gives is what the Service's name
	// gives: "pods", "a cluster IP" or "another name". Called is nil without traffic.
	Ready    int       `json:"ready"`
	Pods     int       `json:"pods"`
	Gives    string    `json:"name_gives"`
	Called   *Called   `json:"called,omitempty"`
	Clients  []Client  `json:"clients"`
	Findings []Finding `json:"findings"`
	// LeadsTo is the Service, as namespace/name, that the proxies behind this one call.
	LeadsTo string `json:"leads_to,omitempty"`

	// Measurement is what clients of the lab's own making saw, or nil.
	Measurement *Measurement `json:"measurement,omitempty"`

	paths    []balance.Path
	servers  []manifest.Workload
	ready    []string
	headless bool
	port     int // that a client of the name dials, 0 if it is not known
}

// Called says how many servers the clients called: the client that called fewest, and
// the one that called most. Jain is the evenness of the client that was least even, 0 to 1.
type Called struct {
	Least   int     `json:"least"`
	Most    int     `json:"most"`
	Servers int     `json:"servers"`
	Jain    float64 `json:"jain"`
}

// String is "1 of 3", or "" of nil.
func (c *Called) String() string {
	switch {
	case c == nil:
		return ""
	case c.Most > c.Least:
		return fmt.Sprintf("%d to %d of %d", c.Least, c.Most, c.Servers)
	}
	return fmt.Sprintf("%d of %d", c.Least, c.Servers)
}

// Client is one that leads to the Service.
type Client struct {
	Object    string          `json:"object"`
	Namespace string          `json:"namespace"`
	Container string          `json:"container"`
	Target    string          `json:"target"`
	From      string          `json:"from"` // on what the guess rests
	Policy    string          `json:"policy"`
	Mesh      string          `json:"mesh,omitempty"`
	Verdict   balance.Verdict `json:"verdict"`
	Chooser   string          `json:"chooser,omitempty"`
	Per       string          `json:"per,omitempty"`
	NewPods   string          `json:"newPods,omitempty"`
}

// Finding is one thing that is wrong for calls.
type Finding struct {
	Name   string `json:"name"` // that of a balance.Kind
	Object string `json:"object"`
	Seen   string `json:"seen"`
	// Why says what it does to calls, and Change what to do.
	Why    string `json:"why"`
	Change string `json:"change"`
	// Patch is a command that makes the change, or "" if more than one field is to change.
	Patch string `json:"patch,omitempty"`
	// Page explains it, in this repository.
	Page string `json:"page"`
	// Advice says that calls are balanced in spite of it.
	Advice bool `json:"advice,omitempty"`
}

func newFinding(name, object, format string, args ...any) Finding {
	k := balance.KindOf(name)
	return Finding{Name: k.Name, Object: object, Seen: fmt.Sprintf(format, args...), Why: k.Why, Change: k.Change, Page: k.Page()}
}

// Judge judges the gRPC Services of the snapshot, or the named ones.
func (s *Snapshot) Judge(names ...string) []*Service {
	cluster := balance.Live(s.objects, s.reflecting...)
	paths, common := cluster.Paths(), cluster.ServiceFindings()
	var all []*Service
	for _, service := range cluster.Services() {
		if len(names) > 0 && !slices.Contains(names, service.Name) {
			continue
		}
		found := &Service{Namespace: service.Namespace, Name: service.Name, Verdict: balance.Undecided, Resolved: s.resolved(service), Gives: gives(service), Traffic: "not seen", Clients: []Client{}, Findings: []Finding{}, headless: balance.Headless(service), port: cluster.DialPort(service), servers: cluster.Selected(service)}
		s.addEndpoints(found, service)
		for _, p := range paths {
			if p.Service != service && p.Through != service {
				continue
			}
			if p.Through == service && p.Service != nil {
				found.LeadsTo = p.Service.Namespace + "/" + p.Service.Name
			}
			found.paths = append(found.paths, p)
			found.Clients = append(found.Clients, clientOf(p))
			found.add(p.Findings...)
		}
		for _, f := range common {
			if slices.Contains(f.About, service) {
				found.add(f)
			}
		}
		found.ByObjects = worst(found.paths)
		found.Verdict = found.ByObjects
		all = append(all, found)
	}
	return all
}

// Faults returns the findings that are no advice.
func (f *Service) Faults() []Finding {
	return slices.DeleteFunc(slices.Clone(f.Findings), func(found Finding) bool { return found.Advice })
}

// worst returns the verdict of the client that fares worst.
func worst(paths []balance.Path) balance.Verdict {
	for _, v := range []balance.Verdict{balance.Unreachable, balance.Pinned, balance.Undecided, balance.Balanced} {
		if slices.ContainsFunc(paths, func(p balance.Path) bool { return p.Verdict == v }) {
			return v
		}
	}
	return balance.Undecided
}

func (f *Service) add(findings ...balance.Finding) {
	for _, b := range findings {
		finding := newFinding(b.Name, manifest.Describe(b.Object), "%s", b.Seen)
		finding.Patch, finding.Advice = patchOf(b), b.Advice
		if !slices.Contains(f.Findings, finding) {
			f.Findings = append(f.Findings, finding)
		}
	}
}

func (s *Snapshot) addEndpoints(found *Service, service *corev1.Service) {
	e := s.endpoints[service.Namespace+"/"+service.Name]
	if e == nil {
		found.Endpoints = "no EndpointSlice"
		if len(service.Spec.Selector) > 0 {
			found.Findings = append(found.Findings, newFinding("no-endpoints", "Service/"+service.Name, "no pod matches the selector %v", service.Spec.Selector))
		}
		return
	}
	found.ready, found.Ready, found.Pods = e.ready, e.Ready, e.All
	found.Endpoints = fmt.Sprintf("%d of %d pods are ready", e.Ready, e.All)
	switch {
	case e.Ready == 0:
		found.Findings = append(found.Findings, newFinding("no-endpoints", "Service/"+service.Name, "%s: calls fail, expected 1 or more", found.Endpoints))
	case e.Ready < e.All:
		found.Findings = append(found.Findings, newFinding("unready-endpoints", "Service/"+service.Name, "%s: the others get no calls", found.Endpoints))
	}
}

// gives is resolved in a word.
func gives(service *corev1.Service) string {
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return "another name"
	case balance.Headless(service):
		return "pods"
	}
	return "a cluster IP"
}

// resolved says what the Service's name gives.
func (s *Snapshot) resolved(service *corev1.Service) string {
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return "the name " + service.Spec.ExternalName
	case balance.Headless(service) && s.ttl != "":
		return "headless: an address for each ready pod; CoreDNS gives it a TTL of " + s.ttl
	case balance.Headless(service):
		return "headless: an address for each ready pod"
	}
	return "one address, the cluster IP " + strings.Join(service.Spec.ClusterIPs, " and ")
}

func clientOf(p balance.Path) Client {
	return Client{
		Object: manifest.Describe(p.Client.Pods.Object), Namespace: p.Client.Pods.GetNamespace(), Container: p.Client.Container,
		Target: p.Client.Target.Text, From: p.Client.From, Policy: p.Client.Policy.String(), Mesh: string(p.Client.Mesh),
		Verdict: p.Verdict, Chooser: p.Chooser, Per: p.Per(), NewPods: p.NewPods,
	}
}
