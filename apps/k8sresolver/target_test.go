package k8sresolver_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

func target(raw string) resolver.Target {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return resolver.Target{URL: *u}
}

// Tests that the grammar k8s:///service[.namespace][:port] is read, with ports by
// number, by name, and left out.
func TestParseTarget(t *testing.T) {
	tests := []struct {
		target string
		want   k8sresolver.Target
	}{
		{target: "k8s:///echo", want: k8sresolver.Target{Service: "echo"}},
		{target: "k8s:///echo:8080", want: k8sresolver.Target{Service: "echo", Port: "8080"}},
		{target: "k8s:///echo:grpc", want: k8sresolver.Target{Service: "echo", Port: "grpc"}},
		{target: "k8s:///echo.shop", want: k8sresolver.Target{Service: "echo", Namespace: "shop"}},
		{target: "k8s:///echo.shop:65535", want: k8sresolver.Target{Service: "echo", Namespace: "shop", Port: "65535"}},
		{target: "k8s:///echo-2.shop-eu:grpc-web", want: k8sresolver.Target{Service: "echo-2", Namespace: "shop-eu", Port: "grpc-web"}},
		{target: "k8s:echo.shop:1", want: k8sresolver.Target{Service: "echo", Namespace: "shop", Port: "1"}},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			got, err := k8sresolver.ParseTarget(target(test.target))
			if err != nil {
				t.Fatalf("ParseTarget(%q): %v", test.target, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ParseTarget(%q) (-want +got):\n%s", test.target, diff)
			}
		})
	}
}

// Tests that each wrong target is refused with an error that holds the target, the
// fault, and the grammar.
func TestParseTarget_Refused(t *testing.T) {
	tests := []struct {
		name, target, want string
	}{
		{name: "empty", target: "k8s:///", want: "the service is empty"},
		{name: "empty_service", target: "k8s:///:8080", want: "the service is empty"},
		{name: "empty_service_with_namespace", target: "k8s:///.shop:8080", want: "the service is empty"},
		{name: "empty_namespace", target: "k8s:///echo.:8080", want: "the namespace after the dot is empty"},
		{name: "dns_name", target: "k8s:///echo.shop.svc.cluster.local:8080", want: "too many dots"},
		{name: "service_in_authority", target: "k8s://echo:8080", want: "write three slashes"},
		{name: "upper_case_service", target: "k8s:///Echo:8080", want: `service "Echo" has upper case letters`},
		{name: "upper_case_namespace", target: "k8s:///echo.Shop:8080", want: `namespace "Shop" has upper case letters`},
		{name: "upper_case_port", target: "k8s:///echo:GRPC", want: `port "GRPC" has upper case letters`},
		{name: "underscore", target: "k8s:///echo_server:8080", want: `service "echo_server" is not a name`},
		{name: "slash", target: "k8s:///shop/echo:8080", want: `service "shop/echo" is not a name`},
		{name: "long_service", target: "k8s:///" + strings.Repeat("a", 64), want: "is not a name"},
		{name: "ipv6_brackets", target: "k8s:///[2001:db8::1]:8080", want: "holds an IP address"},
		{name: "ipv6", target: "k8s:///2001:db8::1", want: "holds an IP address"},
		{name: "ipv4", target: "k8s:///10.0.0.1:8080", want: "holds an IP address"},
		{name: "empty_port", target: "k8s:///echo:", want: "the port after the colon is empty"},
		{name: "port_zero", target: "k8s:///echo:0", want: "port 0 is not within 1 and 65535"},
		{name: "port_too_large", target: "k8s:///echo:65536", want: "port 65536 is not within 1 and 65535"},
		{name: "port_negative", target: "k8s:///echo:-1", want: `port "-1" is neither a number nor a name`},
		{name: "port_name_too_long", target: "k8s:///echo:grpc-and-more-than-15", want: "is neither a number nor a name"},
		{name: "two_ports", target: "k8s:///echo:8080:8081", want: `port "8080:8081" is neither a number nor a name`},
		{name: "query", target: "k8s:///echo:8080?zone=a", want: "has a query"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := k8sresolver.ParseTarget(target(test.target))
			if err == nil {
				t.Fatalf("ParseTarget(%q) succeeded, want an error", test.target)
			}
			for _, want := range []string{test.want, test.target, "expected k8s:///service[.namespace][:port]"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("ParseTarget(%q) = %q, want it to contain %q", test.target, err, want)
				}
			}
		})
	}
}

// Fuzzes the parser against the grammar as expressions.
func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"echo", "echo.shop:grpc", "[::1]:80", "a.b.c:0", ":", "Echo:1", "echo:65536", "echo:0080", "1.2:a--b"} {
		f.Add(seed)
	}
	const label = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
	grammar := regexp.MustCompile("^(" + label + ")(?:[.](" + label + "))?(?::([-a-z0-9]+))?$")
	number := regexp.MustCompile("^[0-9]+$")
	name := regexp.MustCompile("^[a-z0-9](?:-?[a-z0-9])*$")
	f.Fuzz(func(t *testing.T, endpoint string) {
		var want k8sresolver.Target
		parts := grammar.FindStringSubmatch(endpoint)
		wanted := parts != nil
		if wanted {
			want.Service, want.Namespace = parts[1], parts[2]
			switch port := parts[3]; {
			case port == "":
			case number.MatchString(port):
				n, err := strconv.Atoi(port)
				wanted = err == nil && n > 0 && n < 1<<16
				want.Port = strconv.Itoa(n)
			default:
				wanted = len(port) <= 15 && name.MatchString(port)
				want.Port = port
			}
		}
		got, err := k8sresolver.ParseTarget(resolver.Target{URL: url.URL{Scheme: "k8s", Path: "/" + endpoint}})
		if (err == nil) != wanted || wanted && got != want {
			t.Errorf("ParseTarget(%q) = %+v, %v, want %+v, %t", endpoint, got, err, want, wanted)
		}
	})
}

// Tests the order in which the namespace is looked for.
func TestDiscoverNamespace(t *testing.T) {
	mounted := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(mounted, []byte("mounted\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		name                   string
		option, file, fallback string
		want                   string
	}{
		{name: "option_first", option: "option", file: mounted, fallback: "kubeconfig", want: "option"},
		{name: "then_service_account_trimmed", file: mounted, fallback: "kubeconfig", want: "mounted"},
		{name: "then_kubeconfig", file: missing, fallback: "kubeconfig", want: "kubeconfig"},
		{name: "then_default", file: missing, want: "default"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := k8sresolver.DiscoverNamespace(test.option, test.file, test.fallback); got != test.want {
				t.Errorf("DiscoverNamespace(%q, %q, %q) = %q, want %q", test.option, test.file, test.fallback, got, test.want)
			}
		})
	}
}
