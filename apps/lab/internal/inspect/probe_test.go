package inspect_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
)

// A Service that nothing marks is judged if its pods answer server reflection.
func TestProbe(t *testing.T) {
	for _, test := range []struct {
		name     string
		reflects bool
		down     error
		found    int
	}{{"a server that reflects", true, nil, 1}, {"a server that does not", false, nil, 0}, {"a pod that cannot be reached", true, errors.New("refused"), 0}} {
		t.Run(test.name, func(t *testing.T) {
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			if test.reflects {
				reflection.Register(server)
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(lis) }()
			defer func() {
				server.Stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			snapshot, err := inspect.Read(t.Context(), clientset(t, "name: grpc, port: 80, targetPort: 9000", "name: main, port: 80, targetPort: 9000", "readinessProbe: {grpc: {port: 9000}}", "readinessProbe: {tcpSocket: {port: 9000}}"), none, "shop")
			if err != nil {
				t.Fatal(err)
			}
			if found := snapshot.Judge(); len(found) != 0 {
				t.Fatalf("without a probe: %+v, want no gRPC Service", found)
			}
			snapshot.Probe(t.Context(), func(_ context.Context, namespace, pod string, port int) (int, func(), error) {
				if namespace != "shop" || pod != "cart-x-1" || port != 9000 {
					t.Errorf("forwards to port %d of %s/%s, want 9000 of shop/cart-x-1", port, namespace, pod)
				}
				return lis.Addr().(*net.TCPAddr).Port, func() {}, test.down
			})
			if found := snapshot.Judge(); len(found) != test.found {
				t.Errorf("with a probe: %+v, want %d gRPC Services", found, test.found)
			}
		})
	}
}
