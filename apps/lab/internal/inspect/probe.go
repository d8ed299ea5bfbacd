package inspect

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflectiongrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
)

// Probe asks one pod of each Service that nothing marks as gRPC for gRPC's server
// reflection, at each of its ports. Judge then judges those that answer too.
func (s *Snapshot) Probe(ctx context.Context, forward Forward) {
	unknown := balance.Live(s.objects).Unmarked()
	answers := make([]bool, len(unknown))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, u := range unknown {
		for _, w := range u.Servers {
			if pods := s.podsOf(w); len(pods) > 0 {
				group.Go(func() error {
					answers[i] = reflects(ctx, forward, w.GetNamespace(), pods[0], u.Number) == nil
					return nil
				})
				break
			}
		}
	}
	_ = group.Wait() // it returns none
	for i, u := range unknown {
		if answers[i] {
			s.reflecting = append(s.reflecting, u.Backend)
		}
	}
}

// reflects returns nil if a pod answers gRPC's server reflection at the port.
func reflects(ctx context.Context, forward Forward, namespace, pod string, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readTime, fmt.Errorf("no answer in %s", readTime))
	defer cancel()
	local, stop, err := forward(ctx, namespace, pod, port)
	if err != nil {
		return err
	}
	defer stop()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort("127.0.0.1", strconv.Itoa(local)), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := reflectiongrpc.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{}}); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
