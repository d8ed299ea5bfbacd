package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/builtin"
)

// lab is the built program, root the checkout that it was built from.
var lab, root string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "lab")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		lab = filepath.Join(dir, "lab")
		if out, err := exec.Command("go", "build", "-o", lab, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		if root, err = filepath.Abs("../.."); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// call is one run of the program.
type call struct {
	dir   string // default the checkout
	cache string // default a new empty directory
	args  []string
	// outlives lets it run when the test has ended.
	outlives bool
}

func (c call) run(t *testing.T) (code int, stdout, stderr string) {
	t.Helper()
	if c.dir == "" {
		c.dir = root
	}
	if c.cache == "" {
		c.cache = t.TempDir()
	}
	ctx := t.Context()
	if c.outlives {
		ctx = context.WithoutCancel(ctx)
	}
	cmd := exec.CommandContext(ctx, lab, c.args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+c.cache)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// wantFailure checks that the program ended with the code and one clear line.
func (c call) wantFailure(t *testing.T, code int, want ...string) {
	t.Helper()
	got, stdout, stderr := c.run(t)
	if got != code {
		t.Errorf("lab %s: exit code %d, want %d", strings.Join(c.args, " "), got, code)
	}
	if stdout != "" {
		t.Errorf("lab %s: stdout %q, want none", strings.Join(c.args, " "), stdout)
	}
	if !strings.HasPrefix(stderr, "lab: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("lab %s: stderr is not one line of the lab:\n%s", strings.Join(c.args, " "), stderr)
	}
	for _, w := range want {
		if !strings.Contains(stderr, w) {
			t.Errorf("lab %s: stderr lacks %q:\n%s", strings.Join(c.args, " "), w, stderr)
		}
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name string
		call call
		code int
		want []string // in the line on stderr
	}{
		{"unknown flag", call{args: []string{"--nope"}}, 2, []string{"--nope"}},
		{"unknown flag of a command", call{args: []string{"up", "--nope"}}, 2, []string{"--nope"}},
		{"value that is no number", call{args: []string{"up", "--nodes", "two"}}, 2, []string{`"two"`, "--nodes"}},
		{"unknown command", call{args: []string{"upp"}}, 2, []string{`"upp"`}},
		{"argument that none takes", call{args: []string{"down", "all"}}, 2, []string{`"all"`}},
		{
			"unknown overlay in --only", call{args: []string{"run", "--only", "l4,l5"}}, 2,
			[]string{`"l5"`, "dns, istio, k8s-api, l4, linkerd"},
		},
		{
			"unknown overlay in --require", call{args: []string{"--require", "l5"}}, 2,
			[]string{`"l5"`, "dns, istio, k8s-api, l4, linkerd"},
		},
		{
			"required but not run", call{args: []string{"run", "--only", "dns,l4", "--require", "k8s-api"}}, 2,
			[]string{"--require k8s-api", "--only dns,l4"},
		},
		{"unknown means of deploying", call{args: []string{"--deploy", "flux"}}, 2, []string{`"flux"`, "apply or argocd"}},
		{"argocd required but not deployed", call{args: []string{"--require", "argocd"}}, 2, []string{`"argocd"`}},
		{"argocd without a cluster", call{args: []string{"argocd", "app", "list"}}, 3, []string{"`lab up`"}},
		{"unknown overlay to render", call{args: []string{"render", "l5"}}, 2, []string{`"l5"`, "l4"}},
		{"unknown output of run", call{args: []string{"-o", "xml"}}, 2, []string{`"xml"`, "table or json"}},
		{"unknown output of status", call{args: []string{"status", "-o", "xml"}}, 2, []string{`"xml"`, "table or json"}},
		{"outside a checkout", call{dir: os.TempDir(), args: []string{"run"}}, 2, []string{os.TempDir(), "clone"}},
		{"status outside a checkout", call{dir: os.TempDir(), args: []string{"status"}}, 2, []string{"clone"}},
		{"status without a cluster", call{args: []string{"status"}}, 3, []string{"`lab up`"}},
		{"kubectl without a cluster", call{args: []string{"kubectl", "get", "nodes"}}, 3, []string{"`lab up`"}},
		{"no nodes", call{args: []string{"up", "--nodes", "0"}}, 3, []string{"0 nodes", "1 to 9"}},
		{"unknown cluster", call{args: []string{"--cluster", "minikube"}}, 2, []string{`"minikube"`, "builtin or kind", "--context"}},
		{"two clusters", call{args: []string{"--cluster", "kind", "--context", "a"}}, 2, []string{"--cluster kind", "--context a"}},
		{"registry without a context", call{args: []string{"--registry", "ghcr.io/me/lab"}}, 2, []string{"--context"}},
		{"context without a registry", call{args: []string{"--context", "a"}}, 2, []string{"--context a", "--registry HOST/PATH", "--push"}},
		{"registry that is none", call{args: []string{"--context", "a", "--registry", "me/lab"}}, 2, []string{`"me/lab"`, "HOST/PATH", "ghcr.io/me/lab"}},
		{
			"argocd on a cluster of others", call{args: []string{"--context", "a", "--registry", "ghcr.io/me/lab", "--deploy", "argocd"}}, 2,
			[]string{"installs nothing", "argocd/root.yaml"},
		},
		{"too many nodes", call{args: []string{"up", "--nodes", "10"}}, 3, []string{"10 nodes", "1 to 9"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.call.wantFailure(t, tt.code, tt.want...)
		})
	}
}

func TestBusy(t *testing.T) {
	cache := t.TempDir()
	lock, err := builtin.NewDirs(filepath.Join(cache, "grpc-lb"), root).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, command := range []string{"run", "up", "down"} {
		t.Run(command, func(t *testing.T) {
			call{cache: cache, args: []string{command}}.wantFailure(t, 3, "another lab", "kill "+strconv.Itoa(os.Getpid()))
		})
	}
}

func TestCacheCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	call{cache: file, args: []string{"up"}}.wantFailure(t, 3, file, "cache")
}

func TestBrokenKustomization(t *testing.T) {
	copied, cache := t.TempDir(), t.TempDir()
	for _, dir := range []string{"base", "overlays"} {
		if err := os.CopyFS(filepath.Join(copied, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
			t.Fatal(err)
		}
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		"go.mod":                          string(gomod),
		"overlays/dns/kustomization.yaml": "resources: [../nowhere]\n",
	} {
		if err := os.WriteFile(filepath.Join(copied, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"run --only l4,dns", "render dns", "render"} {
		t.Run(command, func(t *testing.T) {
			call{dir: copied, cache: cache, args: strings.Fields(command)}.wantFailure(t, 2, "nowhere")
		})
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) > 0 {
		t.Errorf("the cache holds %v, %v: want nothing built", left, err)
	}
}

func TestOutput(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"help", []string{"--help"}, []string{"Examples:\n", "go run ./apps/lab run --only dns,k8s-api", "Exit codes: 0", "--require"}},
		{"help of up", []string{"up", "--help"}, []string{"Examples:\n", "--api-port"}},
		{"least rights", []string{"run", "--print-rbac", "--only", "k8s-api"}, []string{"kind: ClusterRole", "- grpc-lb-k8s-api\n", "- endpointslices\n", "create clusterrolebinding grpc-lb-lab"}},
		{"completion", []string{"completion", "bash"}, []string{"# bash completion"}},
		{"completion of an overlay", []string{"__complete", "run", "--only", ""}, []string{"dns\nistio\nk8s-api\nl4\nlinkerd\n"}},
		{"completion of an output", []string{"__complete", "-o", ""}, []string{"table\njson\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call{args: tt.args}.run(t)
			if code != 0 {
				t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
			}
			for _, w := range tt.want {
				if !strings.Contains(stdout, w) {
					t.Errorf("stdout lacks %q:\n%s", w, stdout)
				}
			}
		})
	}
}

func TestRender(t *testing.T) {
	golden, err := os.ReadFile("internal/overlay/testdata/golden/l4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Any directory of the checkout will do.
	code, stdout, stderr := call{dir: filepath.Join(root, "base"), args: []string{"render", "l4"}}.run(t)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
	}
	if diff := cmp.Diff(string(golden), stdout); diff != "" {
		t.Errorf("lab render l4 (-want +got):\n%s", diff)
	}
}
