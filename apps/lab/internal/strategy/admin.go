package strategy

import (
	"context"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Admin ports, which listen on the loopback of their pods alone.
const (
	clientAdmin = 9091
	serverAdmin = 9090
)

// adminConn opens a pod's admin port until the returned function is called.
func adminConn(ctx context.Context, env *runner.Environment, pod string, port int) (*grpc.ClientConn, func(), error) {
	local, stop, err := env.Kube.Forward(ctx, env.Namespace, pod, port)
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort("127.0.0.1", strconv.Itoa(local)),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		stop()
		return nil, nil, err
	}
	return conn, func() {
		_ = conn.Close()
		stop()
	}, nil
}
