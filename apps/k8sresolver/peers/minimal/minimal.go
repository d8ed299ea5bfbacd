// Package minimal is what the least clients of the peers have in common. Each of them
// links one resolver only, as k8sresolver's own in package endurance/minimal, whose
// arguments and output they share.
package minimal

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Arguments returns those of the program.
func Arguments() (target, url, ca string) {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: program <target> <URL of the API server> <file with its CA>")
		os.Exit(2)
	}
	return os.Args[1], os.Args[2], os.Args[3]
}

// Call makes one call and prints the resident set and how much of it is anonymous
// memory, in KiB.
func Call(target string, opts ...grpc.DialOption) {
	Must(call(target, opts...))
}

// Must ends the program at an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(target string, opts ...grpc.DialOption) error {
	conn, err := grpc.NewClient(target, append(opts, grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return err
	}
	if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
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
