package experiment

import (
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// cost sums up what a strategy costs, as far as it was measured; nil without a
// turn.
func cost(f *Facts, change report.Change) (*report.Cost, error) {
	if len(f.Turns) == 0 {
		return nil, nil
	}
	c := &report.Cost{Rate: turnRate * float64(len(f.Phases[Turns].Clients)), Change: change, Encrypted: encryptedAll(f)}
	for _, t := range f.Turns {
		windows := f.within(t)
		turn := report.Turn{CPU: map[string]float64{}}
		counted, measured := int64(0), time.Duration(0)
		for _, w := range windows {
			counted += w.Calls
			measured += w.End.Sub(w.Start)
		}
		turn.Failed = failures(windows)
		millis, err := latencyOf(windows)
		if err != nil {
			return nil, err
		}
		if millis == nil {
			continue
		}
		turn.P50Millis, turn.P99Millis = millis.P50, millis.P99
		// The loop is open: what the clients called in whole windows tells the
		// rate, and that how many calls the containers worked for.
		turn.Rate = float64(counted) / measured.Seconds() * float64(len(f.Phases[Turns].Clients))
		for part, used := range t.CPU {
			turn.CPU[part] = 1000 * used.Seconds() * 1000 / (turn.Rate * t.To.Sub(t.From).Seconds())
		}
		c.Turns = append(c.Turns, turn)
	}
	last := f.Turns[len(f.Turns)-1]
	c.Proxies = f.proxies(last)
	c.Connections = connections(f, last)
	c.OtherNode = otherNode(f)
	c.NewPods = newPodsOf(f)
	c.Failed = map[string]report.Failed{}
	for _, name := range []string{ServerLeaves, RollingRestart, Kill} {
		if p, _ := f.phase(name); p != nil {
			failed, all := f.failed(p)
			c.Failed[name] = report.Failed{Failed: failed, Calls: all, Late: f.late(p)}
		}
	}
	return c, nil
}

func newPodsOf(f *Facts) *report.NewPods {
	if out, _ := f.phase(ScaleOut); out != nil {
		return newPods(f, out)
	}
	return nil
}

// proxies counts the containers that are neither client nor server: those beside
// them in their pods, and those in pods of their own.
func (f *Facts) proxies(t Turn) report.Proxies {
	var p report.Proxies
	for _, pod := range keys(t.Memory) {
		beside := false
		for name := range t.Memory[pod] {
			beside = beside || name == f.Client || name == f.Server
		}
		if beside {
			p.AppPods++
		} else {
			p.Pods++
		}
		for name, memory := range t.Memory[pod] {
			if name == f.Client || name == f.Server {
				continue
			}
			p.MemoryBytes += memory
			if beside {
				p.Beside++
			}
		}
	}
	return p
}

// connections returns how many each client holds.
func connections(f *Facts, t Turn) float64 {
	var sum, n int64
	for _, w := range f.within(t) {
		sum, n = sum+w.Connections, n+1
	}
	return float64(sum) / float64(max(n, 1))
}

// otherNode is the share of the steady state's calls that were answered on
// another node than the client's, nil where the nodes are not known.
func otherNode(f *Facts) *float64 {
	steady, _ := f.phase(Steady)
	if steady == nil || len(f.Nodes) == 0 {
		return nil
	}
	var other, all int64
	for _, name := range steady.Clients {
		for server, n := range calls(f.Clients[name].between(steady.Begin, steady.End)) {
			all += n
			if f.Nodes[server] != f.Nodes[name] {
				other += n
			}
		}
	}
	if all == 0 {
		return nil
	}
	return new(float64(other) / float64(all))
}

// encryptedAll tells whether every server's proxy counted TLS handshakes.
func encryptedAll(f *Facts) bool {
	return len(f.Handshakes) > 0 && !slices.Contains(slices.Collect(maps.Values(f.Handshakes)), 0)
}

func (f *Facts) late(p *Phase) (late int64) {
	for _, name := range p.Clients {
		late += lateness(f.Clients[name].between(p.Begin, p.End))
	}
	return late
}

// changeOf says what an application must change to be balanced so: how the
// client differs from l4's, what it imports, and the rights of its account.
func changeOf(s Strategy, client, l4 *appsv1.Deployment, objects []*unstructured.Unstructured) report.Change {
	change := report.Change{Code: s.Code, Args: []string{}, Rights: []string{}}
	args := func(d *appsv1.Deployment) []string {
		return d.Spec.Template.Spec.Containers[0].Args
	}
	plain := args(l4)
	for _, arg := range args(client) {
		if !slices.Contains(plain, arg) {
			change.Args = append(change.Args, arg)
		}
	}
	account := client.Spec.Template.Spec.ServiceAccountName
	for _, o := range objects {
		if o.GetKind() != "Role" || o.GetName() != account {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			fields, _ := rule.(map[string]any)
			verbs, _, _ := unstructured.NestedStringSlice(fields, "verbs")
			resources, _, _ := unstructured.NestedStringSlice(fields, "resources")
			change.Rights = append(change.Rights, strings.Join(verbs, ", ")+" "+strings.Join(resources, ", "))
		}
	}
	return change
}
