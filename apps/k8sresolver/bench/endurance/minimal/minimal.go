// Package minimal is what the least clients have in common, with which the size of a
// client is measured. Each of them links one resolver and makes one call.
package minimal

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
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
