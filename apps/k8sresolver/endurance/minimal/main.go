// Command minimal is the least program that uses package k8sresolver: it makes one
// call and prints its resident set and how much of that is anonymous memory, in KiB. The
// size of a client is measured with it.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: minimal <target> <URL of the API server> <file with its CA>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(target, url, ca string) error {
	client, err := k8sresolver.NewClient(&rest.Config{Host: url, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(target,
		grpc.WithResolvers(k8sresolver.NewBuilder(client)), grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if name, size, _ := strings.Cut(line, ":"); name == "VmRSS" || name == "RssAnon" {
			fmt.Println(strings.Fields(size)[0])
		}
	}
	return nil
}
