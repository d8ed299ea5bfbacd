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

	"google.golang.org/grpc"
	channelzgrpc "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Forward forwards a loopback port to a pod's until stop is called.
type Forward func(ctx context.Context, namespace, pod string, port int) (local int, stop func(), err error)

// samples is how many pods of one client are asked.
const samples = 3

// enough is how even calls must be that a policy spreads, as Jain's index.
const enough = 0.8

// Watch asks the clients of the service for what their channels did in the time, by
// channelz (gRFC A14), and lets that decide the verdict. Clients without a port that
// serves it are not seen.
func (s *Snapshot) Watch(ctx context.Context, forward Forward, watched time.Duration, service *Service) {
	var seen []distribution.Counts
	var missing []string
	for _, p := range service.paths {
		port := channelzPort(p.Client)
		if port == 0 {
			missing = append(missing, fmt.Sprintf("%s has no known channelz port", manifest.Describe(p.Client.Pods.Object)))
			continue
		}
		g := s.groups[groupKey{p.Client.Pods.GetNamespace(), p.Client.Pods.GetObjectKind().GroupVersionKind().Kind, p.Client.Pods.GetName()}]
		for _, pod := range g.names[:min(len(g.names), samples)] {
			counts, err := callsIn(ctx, forward, p.Client.Pods.GetNamespace(), pod, port, p.Client.Target, watched)
			if err != nil {
				missing = append(missing, fmt.Sprintf("pod %s: %v", pod, err))
				continue
			}
			seen = append(seen, counts)
		}
	}
	service.judgeTraffic(seen, missing, watched)
}

// judgeTraffic compares what clients called with the endpoints.
func (f *Service) judgeTraffic(seen []distribution.Counts, missing []string, watched time.Duration) {
	busy := slices.DeleteFunc(seen, func(c distribution.Counts) bool { return c.Total() == 0 })
	if len(busy) == 0 {
		if len(missing) > 0 {
			f.Traffic = "not seen: " + missing[0]
		} else if len(f.Clients) > 0 {
			f.Traffic = fmt.Sprintf("no call in %s", watched)
		}
		return
	}
	least, evenness := len(busy[0]), 1.0
	for _, c := range busy {
		least, evenness = min(least, len(c.Servers())), min(evenness, c.Jain())
	}
	f.Traffic = fmt.Sprintf("channelz of %d clients in %s: each calls %d or more of %d addresses, Jain %.2f or more", len(busy), watched, least, max(len(f.ready), least), evenness)
	switch {
	case throughProxy(f.paths):
		f.Traffic += "; these are the proxy's addresses, not the servers'"
	case least >= 2 && least >= len(f.ready) && evenness >= enough:
		f.Verdict = balance.Balanced
	case least == 1 && len(f.ready) > 1:
		f.Verdict = balance.Pinned
	}
	f.measured = !throughProxy(f.paths)
}

// throughProxy says whether a proxy or a sidecar is between client and server, so that
// the client's channel shows nothing of the servers.
func throughProxy(paths []balance.Path) bool {
	return slices.ContainsFunc(paths, func(p balance.Path) bool {
		return p.Through != nil || p.Client.Mesh == balance.IstioSidecar || p.Client.Mesh == balance.Linkerd2
	})
}

// channelzPort returns the port at which a client serves channelz: that of the setting
// "admin" or "channelz", or of a port of that name; 0 if there is none.
func channelzPort(c balance.Client) int {
	for _, name := range []string{"admin", "channelz"} {
		if value, ok := c.Settings[name]; ok {
			if _, port, err := net.SplitHostPort(value); err == nil {
				number, _ := strconv.Atoi(port)
				return number
			}
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

// callsIn counts the calls of a pod's channels to the target by address, in a time.
func callsIn(ctx context.Context, forward Forward, namespace, pod string, port int, target balance.Target, watched time.Duration) (distribution.Counts, error) {
	local, stop, err := forward(ctx, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer stop()
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", local), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := channelzgrpc.NewChannelzClient(conn)
	before, err := callsOf(ctx, client, target)
	if err != nil {
		return nil, fmt.Errorf("channelz at port %d: %w", port, err)
	}
	if err := poll.Sleep(ctx, watched); err != nil {
		return nil, err
	}
	after, err := callsOf(ctx, client, target)
	if err != nil {
		return nil, fmt.Errorf("channelz at port %d: %w", port, err)
	}
	for address, n := range before {
		if after[address] -= n; after[address] <= 0 {
			delete(after, address)
		}
	}
	return after, nil
}

// callsOf returns the calls that the channels of the target have started, by address.
func callsOf(ctx context.Context, client channelzgrpc.ChannelzClient, target balance.Target) (distribution.Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	top, err := client.GetTopChannels(ctx, &channelzgrpc.GetTopChannelsRequest{})
	if err != nil {
		return nil, err
	}
	counts := distribution.Counts{}
	for _, channel := range top.GetChannel() {
		if !strings.Contains(channel.GetData().GetTarget(), target.Host) && !strings.Contains(channel.GetRef().GetName(), target.Host) {
			continue
		}
		if err := addCalls(ctx, client, channel, counts); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// addCalls adds the calls of a channel's subchannels, and of the channels below it.
func addCalls(ctx context.Context, client channelzgrpc.ChannelzClient, channel *channelzgrpc.Channel, counts distribution.Counts) error {
	for _, ref := range channel.GetSubchannelRef() {
		r, err := client.GetSubchannel(ctx, &channelzgrpc.GetSubchannelRequest{SubchannelId: ref.GetSubchannelId()})
		if err != nil {
			continue // it has gone meanwhile
		}
		data := r.GetSubchannel().GetData()
		counts[data.GetTarget()] += data.GetCallsStarted()
	}
	for _, ref := range channel.GetChannelRef() {
		r, err := client.GetChannel(ctx, &channelzgrpc.GetChannelRequest{ChannelId: ref.GetChannelId()})
		if err != nil {
			continue
		}
		if err := addCalls(ctx, client, r.GetChannel(), counts); err != nil {
			return err
		}
	}
	return nil
}
