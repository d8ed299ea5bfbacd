package inspect

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	channelzgrpc "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/envoyadmin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Forward forwards a loopback port to a pod's until stop is called.
type Forward func(ctx context.Context, namespace, pod string, port int) (local int, stop func(), err error)

// readTime is what one reading may take.
const readTime = 10 * time.Second

// samples is how many pods of one client are asked.
const samples = 3

// atOnce is how many pods are read at the same time.
const atOnce = 64

// enough is how even calls must be that a policy spreads, as Jain's index.
const enough = 0.8

// reading is the calls that one pod reports.
type reading struct {
	source source
	pod    string
	counts distribution.Counts
	err    error
}

// Watch reads twice, some time apart, how many calls went to each server, and lets that
// decide the verdicts: from the proxy if there is one between client and server, else
// from the clients' channelz (gRFC A14), else from the servers' metrics, which only give
// the sum of all clients.
func (s *Snapshot) Watch(ctx context.Context, forward Forward, watched time.Duration, services []*Service) {
	readings, missing := map[*Service][]*reading{}, map[*Service][]string{}
	sums := map[*Service][]*reading{}
	var group errgroup.Group
	group.SetLimit(atOnce)
	read := func(from source, pod string) *reading {
		r := &reading{source: from, pod: pod}
		group.Go(func() error {
			r.counts, r.err = from.callsIn(ctx, forward, pod, watched)
			return nil
		})
		return r
	}
	for _, service := range services {
		if service.LeadsTo != "" {
			service.Traffic = "see " + service.LeadsTo + ", to which its proxies lead"
			continue
		}
		for _, p := range service.paths {
			source, ok := s.sourceOf(p, service)
			if !ok {
				missing[service] = append(missing[service], fmt.Sprintf("%s has no known channelz port", manifest.Describe(p.Client.Pods.Object)))
				continue
			}
			for _, pod := range source.pods[:min(len(source.pods), samples)] {
				readings[service] = append(readings[service], read(source, pod))
			}
		}
		if len(readings[service]) == 0 {
			for _, from := range s.metricsSources(service) {
				sums[service] = append(sums[service], read(from, from.pods[0]))
			}
		}
	}
	_ = group.Wait() // each reading has its own error
	for _, service := range services {
		if service.LeadsTo == "" {
			service.judgeTraffic(readings[service], missing[service], watched)
			service.judgeSum(sums[service], s.clientPods(service), watched)
		}
	}
}

// judgeTraffic compares what clients or proxies called with the endpoints.
func (f *Service) judgeTraffic(readings []*reading, missing []string, watched time.Duration) {
	var busy []distribution.Counts
	var from string
	for _, r := range readings {
		switch {
		case r.err != nil:
			missing = append(missing, fmt.Sprintf("pod %s: %v", r.pod, r.err))
		case r.counts.Total() > 0:
			from, busy = r.source.what, append(busy, r.counts)
		}
	}
	if len(busy) == 0 {
		if len(missing) > 0 {
			f.Traffic = "not seen: " + missing[0]
		} else if len(f.Clients) > 0 {
			f.Traffic = fmt.Sprintf("no answered call in %s", watched)
		}
		return
	}
	least, most, evenness := len(busy[0].Servers()), 0, 1.0
	for _, c := range busy {
		least, most, evenness = min(least, len(c.Servers())), max(most, len(c.Servers())), min(evenness, c.Jain())
	}
	f.Called = &Called{Least: least, Most: most, Servers: max(len(f.ready), most), Jain: evenness}
	f.Traffic = fmt.Sprintf("%s, %d in %s: each called %s servers, Jain %.2f or more", from, len(busy), watched, f.Called, evenness)
	switch {
	case least >= len(f.ready) && (evenness >= enough || least == 1):
		f.Verdict, f.Measured = balance.Balanced, true
	case least == 1:
		f.Verdict, f.Measured = balance.Pinned, true
		if f.ByObjects == balance.Balanced {
			f.addPartialView(least)
		}
	case evenness >= enough:
		f.Verdict, f.Measured = balance.Balanced, true
		f.addPartialView(least)
	default:
		f.Traffic += ": neither one server nor all of them evenly"
	}
}

// clientPods counts the pods of the Service's known clients.
func (s *Snapshot) clientPods(service *Service) int {
	n := 0
	for _, p := range service.paths {
		n += len(s.podsOf(p.Client.Pods))
	}
	return n
}

// judgeSum judges by what each server counted of all its clients. One busy server shows
// that clients are pinned. More busy servers than clients show that a client uses several.
// Anything else can be either.
func (f *Service) judgeSum(readings []*reading, clients int, watched time.Duration) {
	sum := distribution.Counts{}
	for _, r := range readings {
		if r.err != nil {
			f.Traffic = fmt.Sprintf("not seen: pod %s: %v", r.pod, r.err)
			return
		}
		sum = sum.With(r.pod).Plus(r.counts)
	}
	busy := len(sum) - len(sum.Idle())
	if busy == 0 {
		return
	}
	f.Traffic = fmt.Sprintf("metrics of servers, the sum of %d client pods in %s: %d of %d servers were called, Jain %.2f", clients, watched, busy, len(sum), sum.Jain())
	switch {
	case len(sum) > 1 && busy == 1:
		f.Verdict, f.Measured = balance.Pinned, true
	case clients > 0 && busy > clients && busy == len(sum) && sum.Jain() >= enough:
		f.Verdict, f.Measured = balance.Balanced, true
	default:
		f.Traffic += ": this does not show whether each client calls all"
	}
}

func (f *Service) addPartialView(servers int) {
	f.Findings = append(f.Findings, newFinding("partial-view", "Service/"+f.Name,
		"a client calls %d of %d servers, evenly: it does not know the others; a client of a DNS name keeps the servers that it found when it started", servers, len(f.ready)))
}

// source is where the calls to the servers of a path are counted.
type source struct {
	what, namespace string
	pods            []string
	port            int
	read            func(ctx context.Context, address string) (distribution.Counts, error)
}

// podsOf returns the names of a workload's running pods.
func (s *Snapshot) podsOf(w manifest.Workload) []string {
	g := s.groups[groupKey{w.GetNamespace(), w.GetObjectKind().GroupVersionKind().Kind, w.GetName()}]
	if g == nil {
		return nil
	}
	return g.names
}

// sourceOf returns the source that is nearest to the servers.
func (s *Snapshot) sourceOf(p balance.Path, service *Service) (source, bool) {
	client := p.Client.Pods
	from := source{namespace: client.GetNamespace(), pods: s.podsOf(client)}
	switch {
	case p.Proxy.Object != nil:
		from.what, from.namespace, from.pods, from.port = "Envoy proxies", p.Proxy.GetNamespace(), s.podsOf(p.Proxy), p.ProxyAdmin
		from.read = fromEnvoy(func(string) bool { return true }, service.ready)
	case p.Client.Mesh == balance.IstioSidecar && !p.Bypasses:
		from.what, from.port = "sidecars of clients", 15000
		host := service.Name + "." + service.Namespace + "."
		from.read = fromEnvoy(func(cluster string) bool { return envoyadmin.Outbound(cluster, host) }, service.ready)
	default:
		from.what, from.port = "channelz of clients", channelzPort(p.Client)
		from.read = func(ctx context.Context, address string) (distribution.Counts, error) {
			return callsOf(ctx, address, p.Client.Target)
		}
	}
	return from, from.port != 0 && len(from.pods) > 0
}

// fromEnvoy reads the requests of an Envoy to the servers, without those that failed.
func fromEnvoy(match func(cluster string) bool, servers []string) func(context.Context, string) (distribution.Counts, error) {
	return func(ctx context.Context, address string) (distribution.Counts, error) {
		raw, err := get(ctx, "http://"+address+"/clusters?format=json")
		if err != nil {
			return nil, err
		}
		sent, err := envoyadmin.Count(raw, envoyadmin.Requests, match)
		if err != nil {
			return nil, err
		}
		failed, err := envoyadmin.Count(raw, envoyadmin.Errors, match)
		counts := distribution.Counts{}
		for server, n := range sent {
			if slices.Contains(servers, server) {
				counts[server] = n - failed[server]
			}
		}
		return counts, err
	}
}

// channelzPort returns the port at which a client serves channelz: that of the setting
// "admin" or "channelz", or of a port of that name; 0 if there is none.
func channelzPort(c balance.Client) int {
	for _, name := range []string{"admin", "channelz"} {
		if value, ok := c.Settings[name]; ok && name == "admin" && value == "" {
			return 0 // it is off
		} else if _, port, err := net.SplitHostPort(value); err == nil {
			number, _ := strconv.Atoi(port)
			return number
		}
	}
	for _, container := range c.Pods.Containers() {
		for _, p := range container.Ports {
			if container.Name == c.Container && slices.Contains([]string{"admin", "channelz"}, p.Name) {
				return int(p.ContainerPort)
			}
		}
	}
	if name, _, _ := manifest.SplitReference(c.Image); strings.HasPrefix(path.Base(name), "echo-client") {
		return 9091 // where this repository's client serves it
	}
	return 0
}

// callsIn counts the calls that a pod reports, by server, in a time.
func (f source) callsIn(ctx context.Context, forward Forward, pod string, watched time.Duration) (distribution.Counts, error) {
	local, stop, err := forward(ctx, f.namespace, pod, f.port)
	if err != nil {
		return nil, err
	}
	defer stop()
	read := func() (distribution.Counts, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, readTime, fmt.Errorf("no answer in %s", readTime))
		defer cancel()
		counts, err := f.read(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
		if err != nil {
			return nil, fmt.Errorf("port %d: %w", f.port, err)
		}
		return counts, nil
	}
	before, err := read()
	if err != nil {
		return nil, err
	}
	if err := poll.Sleep(ctx, watched); err != nil {
		return nil, err
	}
	after, err := read()
	if err != nil {
		return nil, err
	}
	return since(before, after), nil
}

// since returns what was counted between two readings. A counter that is smaller than
// before began anew, as that of an address that Envoy's DNS lost and gave again.
func since(before, after distribution.Counts) distribution.Counts {
	counts := distribution.Counts{}
	for server, n := range after {
		if n >= before[server] {
			n -= before[server]
		}
		if n > 0 {
			counts[server] = n
		}
	}
	return counts
}

// callsOf returns the calls that the channels of the target have started and that have
// not failed, by address.
func callsOf(ctx context.Context, address string, target balance.Target) (distribution.Counts, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := channelzgrpc.NewChannelzClient(conn)
	top, err := client.GetTopChannels(ctx, &channelzgrpc.GetTopChannelsRequest{})
	if err != nil {
		return nil, fmt.Errorf("channelz: %w", err)
	}
	counts := distribution.Counts{}
	for _, channel := range top.GetChannel() {
		if strings.Contains(channel.GetData().GetTarget(), target.Host) || strings.Contains(channel.GetRef().GetName(), target.Host) {
			addCalls(ctx, client, channel, counts)
		}
	}
	return counts, nil
}

// addCalls adds the calls of a channel's subchannels, and of the channels below it.
func addCalls(ctx context.Context, client channelzgrpc.ChannelzClient, channel *channelzgrpc.Channel, counts distribution.Counts) {
	for _, ref := range channel.GetSubchannelRef() {
		r, err := client.GetSubchannel(ctx, &channelzgrpc.GetSubchannelRequest{SubchannelId: ref.GetSubchannelId()})
		if err != nil {
			continue // it has gone meanwhile
		}
		data := r.GetSubchannel().GetData()
		counts[data.GetTarget()] += data.GetCallsStarted() - data.GetCallsFailed()
	}
	for _, ref := range channel.GetChannelRef() {
		r, err := client.GetChannel(ctx, &channelzgrpc.GetChannelRequest{ChannelId: ref.GetChannelId()})
		if err == nil {
			addCalls(ctx, client, r.GetChannel(), counts)
		}
	}
}
