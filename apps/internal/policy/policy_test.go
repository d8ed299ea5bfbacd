package policy_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
)

// gRPC knows every listed policy, and takes the service configs with which the
// client and `lab slow` select it.
func TestGRPCTakesEveryPolicy(t *testing.T) {
	for _, p := range policy.All {
		t.Run(p.Name, func(t *testing.T) {
			if balancer.Get(p.Name) == nil {
				t.Fatal("gRPC's registry does not have it: import its package")
			}
			for _, config := range []string{policy.ServiceConfig(p.Name, ""), policy.ServiceConfig(p.Name, p.SlowConfig)} {
				conn, err := grpc.NewClient("passthrough:///unused", grpc.WithDefaultServiceConfig(config),
					grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Errorf("service config %s: %v", config, err)
					continue
				}
				conn.Close()
			}
		})
	}
}
