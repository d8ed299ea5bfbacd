package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	inFlight  = 64
	maxRounds = 100
	maxTime   = time.Minute
	message   = "sixteen letters."
)

// rates are those of the open loop.
var rates = []float64{100, 1000, 10_000}

type config struct {
	rounds int
	time   time.Duration
	stderr io.Writer // gets a line for each round
}

func (c config) validate() error {
	var errs []error
	if c.rounds < 1 || c.rounds > maxRounds {
		errs = append(errs, fmt.Errorf("--rounds %d: expected 1 to %d", c.rounds, maxRounds))
	}
	if c.time < time.Second || c.time > maxTime || c.time%time.Second != 0 {
		errs = append(errs, fmt.Errorf("--time %v: expected whole seconds, 1s to %v", c.time, maxTime))
	}
	return errors.Join(errs...)
}

// measure builds the programs and measures them. When it returns, none runs any more.
func measure(ctx context.Context, cfg config) (r callpath.Result, err error) {
	dir, err := os.MkdirTemp("", "callpath-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(cfg.stderr, "building the programs")
	built, err := build(ctx, dir)
	if err != nil {
		return r, err
	}
	r = callpath.Result{
		Started: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(),
		Machine: fmt.Sprintf("%d CPUs, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		Rounds:  cfg.rounds, TimeS: cfg.time.Seconds(), InFlight: inFlight,
	}
	if r.GRPC, err = version(ctx, "google.golang.org/grpc"); err != nil {
		return r, err
	}
	if r.Ghz, err = version(ctx, "github.com/bojand/ghz"); err != nil {
		return r, err
	}
	ctx, stop := context.WithCancel(ctx)
	s, err := startServers(ctx, built, dir)
	defer func() {
		stop()
		for _, c := range s.started {
			<-c.ended
		}
	}()
	if err != nil {
		return r, err
	}
	sizes, err := messageSizes(ctx, s.echo.address)
	if err != nil {
		return r, err
	}
	r.RequestBytes, r.ResponseBytes = sizes.request, sizes.response
	return r, takeTurns(ctx, cfg, built, s, sizes, dir, &r)
}

// servers are those that run all the time; who is not called costs nothing.
type servers struct {
	benchmark, echo, perCall *server
	started                  []*server
}

func startServers(ctx context.Context, built programs, dir string) (s servers, err error) {
	start := func(to **server, program string, args ...string) {
		if err != nil {
			return
		}
		if *to, err = serve(ctx, []string{"POD_NAME=echo-server-0", "NODE_NAME=node-0"}, built[program], func(port string) []string {
			return append(args, "--port", port)
		}); err == nil {
			s.started = append(s.started, *to)
		}
	}
	start(&s.benchmark, benchmarkServer, "--test_name", profile(dir, "server"))
	start(&s.echo, echoServer, "--admin=", "--drain-delay=0s")
	start(&s.perCall, echoServer, "--admin=", "--drain-delay=0s", "--orca-per-call")
	return s, err
}

// profile is a name by which grpc-go's benchmark writes its profiles, which it always
// does, to dir: it puts /tmp/ before the name.
func profile(dir, name string) string { return filepath.Join("..", dir, name) }

// sizes are those of messages, and those to ask grpc-go's benchmark for so that its
// messages are as long.
type sizes struct {
	request, response         int
	requestBody, responseBody int
}

// messageSizes measures the messages of a call of EchoService.
func messageSizes(ctx context.Context, address string) (s sizes, err error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return s, err
	}
	defer conn.Close()
	request := &echopb.EchoRequest{Message: message}
	reply, err := echopb.NewEchoServiceClient(conn).Echo(ctx, request)
	if err != nil {
		return s, err
	}
	s.request, s.response = proto.Size(request), proto.Size(reply)
	body := func(n int) *testpb.Payload { return &testpb.Payload{Body: make([]byte, n)} }
	for proto.Size(&testpb.SimpleResponse{Payload: body(s.responseBody)}) < s.response {
		s.responseBody++
	}
	for proto.Size(&testpb.SimpleRequest{ResponseSize: int32(s.responseBody), Payload: body(s.requestBody)}) < s.request {
		s.requestBody++
	}
	return s, nil
}

// takeTurns lets one program call at a time, in rounds, so that what the machine does
// meanwhile meets all of them.
func takeTurns(ctx context.Context, cfg config, built programs, s servers, size sizes, dir string, r *callpath.Result) error {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
	benchmark := client{
		program: built[benchmarkClient], server: s.benchmark, read: readBenchmark,
		args: func(inFlight int, time time.Duration) []string {
			_, port, _ := net.SplitHostPort(s.benchmark.address) // of a listener, which has both
			return []string{"-port", port, "-test_name", profile(dir, "client"), "-c", "1", "-r", strconv.Itoa(inFlight),
				"-w", seconds(warmUp), "-d", seconds(time), "-req", strconv.Itoa(size.requestBody), "-resp", strconv.Itoa(size.responseBody)}
		},
	}
	ghz := client{
		program: built[ghz], server: s.echo, read: readGhz,
		args: func(inFlight int, time time.Duration) []string {
			return []string{"--insecure", "--call", "com.example.grpc.EchoService/echo", "--data", `{"message":"` + message + `"}`,
				"--connections", "1", "--concurrency", strconv.Itoa(inFlight), "--duration", (warmUp + time).String(), "--format", "json", s.echo.address}
		},
	}
	echo := func(to *server, flag string) client {
		return client{
			program: built[echoClient], server: to, read: readLog,
			args: func(n int, time time.Duration) []string {
				return []string{"--target", "passthrough:///" + to.address, "--admin=", "--output", "json", "--message", message,
					flag, strconv.Itoa(n), "--duration", (warmUp + time).String()}
			},
		}
	}
	for _, rate := range rates {
		r.OpenLoop = append(r.OpenLoop, callpath.OpenLoop{Asked: rate})
	}
	for round := range cfg.rounds {
		fmt.Fprintf(cfg.stderr, "round %d of %d\n", round+1, cfg.rounds)
		err := errors.Join(
			benchmark.add(ctx, cfg, &r.Benchmark, true),
			ghz.add(ctx, cfg, &r.GhzEcho, true),
			echo(s.echo, "--concurrency").add(ctx, cfg, &r.Echo, true),
			echo(s.perCall, "--concurrency").add(ctx, cfg, &r.PerCall, false),
			addAccounting(ctx, cfg, s.echo, &r.Accounting),
		)
		for i := range r.OpenLoop {
			o := &r.OpenLoop[i]
			t, _, _, failed := echo(s.echo, "--rate").take(ctx, int(o.Asked), cfg.time)
			err = errors.Join(err, failed)
			o.Made, o.P99 = append(o.Made, t.callsPerSecond), append(o.P99, micros(t.p99))
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}
