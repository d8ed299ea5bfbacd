package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

// lab is the built program, root the checkout that it was built from. Where there is
// no Go, LAB_PROGRAM names one that was built elsewhere.
var lab, root string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "lab")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		lab = filepath.Join(dir, "lab")
		if built := os.Getenv("LAB_PROGRAM"); built != "" {
			lab = built
		} else if out, err := exec.Command("go", "build", "-o", lab, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		if root, err = filepath.Abs("../../../.."); err != nil {
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
	under string // a program that runs it, such as nohup
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
	if strings.Contains(stderr, "%!") {
		t.Errorf("lab %s: stderr is badly formatted: %s", strings.Join(c.args, " "), stderr)
	}
	for _, w := range want {
		if !strings.Contains(stderr, w) {
			t.Errorf("lab %s: stderr lacks %q:\n%s", strings.Join(c.args, " "), w, stderr)
		}
	}
}

// overlays returns the names of the folders in a checkout's overlays/.
func overlays(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "overlays"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestFailures(t *testing.T) {
	file := func(content string) string {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const measured = `{"rows":[{"strategy":"l4"}]}`
	text, result, list, empty, short := file("no JSON\n"), file(`{"schema":1,"strategies":[{"name":"l4"}]}`), file("[]"), file(`{"rows":[]}`), file(measured[:9])
	known := strings.Join(overlays(t, root), ", ") + ", l4-max-age, dns-max-age"
	unmarked, half := file("# A document\n"), file("<!-- results -->\n")
	tests := []struct {
		name string
		call call
		code int
		want []string // in the line on stderr
	}{
		{"watch's lanes without a terminal", call{args: []string{"watch", "--tui"}}, 2, []string{"--tui: standard input or output is no terminal"}},
		{"a port for watch's lanes", call{args: []string{"watch", "--tui", "--port", "8080"}}, 2, []string{"--port 8080 is about the page, and --tui shows none"}},
		{"an experiment of no name", call{args: []string{"run", "--experiment", "nope"}}, 2, []string{`experiment "nope" is not known: expected one of `}},
		{"an experiment that does not concern an overlay", call{args: []string{"run", "--experiment", "scale-to-zero", "--only", "linkerd"}}, 2, []string{"--experiment scale-to-zero does not concern linkerd", "lab experiments"}},
		{"an experiment under Argo CD", call{args: []string{"run", "--experiment", "scale-to-zero", "--deploy", "argocd"}}, 2, []string{"--experiment scale-to-zero with --deploy argocd"}},
		{"a list of experiments in an unknown format", call{args: []string{"experiments", "-o", "xml"}}, 2, []string{`--output "xml": expected table or json`}},
		{"unknown flag", call{args: []string{"--nope"}}, 2, []string{"--nope"}},
		{"unknown flag of a command", call{args: []string{"up", "--nope"}}, 2, []string{"--nope"}},
		{"value that is no number", call{args: []string{"up", "--nodes", "two"}}, 2, []string{`"two"`, "--nodes"}},
		{"unknown command", call{args: []string{"upp"}}, 2, []string{`"upp"`}},
		{"argument that none takes", call{args: []string{"down", "all"}}, 2, []string{`"all"`}},
		{
			"unknown overlay in --only", call{args: []string{"run", "--only", "l4,l5"}}, 2,
			[]string{`"l5"`, known},
		},
		{
			"unknown overlay in --require", call{args: []string{"--require", "l5"}}, 2,
			[]string{`"l5"`, known},
		},
		{
			"required but not run", call{args: []string{"run", "--only", "dns,l4", "--require", "k8s-api"}}, 2,
			[]string{"--require k8s-api", "--only dns,l4"},
		},
		{"unknown means of deploying", call{args: []string{"--deploy", "flux"}}, 2, []string{`"flux"`, "apply or argocd"}},
		{"argocd required but not deployed", call{args: []string{"--require", "argocd"}}, 2, []string{`"argocd"`}},
		{"argocd without a cluster", call{args: []string{"argocd", "app", "list"}}, 3, []string{"`lab up`"}},
		{"unknown overlay to render", call{args: []string{"render", "l5"}}, 2, []string{`"l5"`, "l4"}},
		{"unknown overlay to check", call{args: []string{"check", "l5"}}, 2, []string{`"l5"`, "l4"}},
		{"unknown output of check", call{args: []string{"check", "-o", "xml"}}, 2, []string{`"xml"`, "text or json"}},
		{"check outside a checkout", call{dir: os.TempDir(), args: []string{"check"}}, 2, []string{"clone"}},
		{"unknown output of run", call{args: []string{"-o", "xml"}}, 2, []string{`"xml"`, "table or json"}},
		{"unknown output of status", call{args: []string{"status", "-o", "xml"}}, 2, []string{`"xml"`, "table or json"}},
		{"unknown output of slow", call{args: []string{"slow", "-o", "xml"}}, 2, []string{`"xml"`, "table, json or markdown"}},
		{"slow without a fast server", call{args: []string{"slow", "--servers", "1", "--rounds", "0"}}, 2, []string{"--servers 1", "--rounds 0"}},
		{"outside a checkout", call{dir: os.TempDir(), args: []string{"run"}}, 2, []string{os.TempDir(), "clone"}},
		{"status outside a checkout", call{dir: os.TempDir(), args: []string{"status"}}, 2, []string{"clone"}},
		{"status without a cluster", call{args: []string{"status"}}, 3, []string{"`lab up`"}},
		{"kubectl without a cluster", call{args: []string{"kubectl", "get", "nodes"}}, 3, []string{"`lab up`"}},
		{"too many retries", call{args: []string{"run", "--retries", "10"}}, 2, []string{"--retries 10", "0 to 9"}},
		{"no nodes", call{args: []string{"up", "--nodes", "0"}}, 3, []string{"0 nodes", "1 to 9"}},
		{"unknown cluster", call{args: []string{"--cluster", "minikube"}}, 2, []string{`"minikube"`, strings.Join(registry.All(dirs.Dirs{}, "").Names(), " or "), "--context"}},
		{"two clusters", call{args: []string{"--cluster", "kind", "--context", "a"}}, 2, []string{"--cluster", "--context a"}},
		{"an image of the built-in cluster", call{args: []string{"up", "--cluster", "builtin", "--node-image", "x"}}, 2, []string{"--node-image x", "--cluster kind"}},
		{"costs on kind", call{args: []string{"costs", "--cluster", "kind"}}, 2, []string{"--cluster kind", "out of reach", "--cluster builtin"}},
		{"registry without a context", call{args: []string{"--registry", "ghcr.io/me/lab"}}, 2, []string{"--context"}},
		{"context without a registry", call{args: []string{"--context", "a"}}, 2, []string{"--context a", "--registry HOST/PATH", "--push"}},
		{"registry that is none", call{args: []string{"--context", "a", "--registry", "me/lab"}}, 2, []string{`"me/lab"`, "HOST/PATH", "ghcr.io/me/lab"}},
		{
			"argocd on a cluster of others", call{args: []string{"--context", "a", "--registry", "ghcr.io/me/lab", "--deploy", "argocd"}}, 2,
			[]string{"installs nothing", "argocd/root.yaml"},
		},
		{"too many nodes", call{args: []string{"up", "--nodes", "10"}}, 3, []string{"10 nodes", "1 to 9"}},
		{"no runs of costs", call{args: []string{"costs", "--runs", "0"}}, 2, []string{"--runs 0", "1 to 50"}},
		{"too many runs of costs", call{args: []string{"costs", "--runs", "51"}}, 2, []string{"--runs 51", "1 to 50"}},
		{"runs that are no number", call{args: []string{"costs", "--runs", "some"}}, 2, []string{`"some"`, "--runs"}},
		{"unknown output of costs", call{args: []string{"costs", "-o", "xml"}}, 2, []string{`"xml"`, "table, json or markdown"}},
		{"unknown overlay in costs", call{args: []string{"costs", "--only", "l4,l5"}}, 2, []string{`"l5"`, "k8s-api"}},
		{"image of costs without a file", call{args: []string{"costs", "--image", "x:1"}}, 2, []string{`"x:1"`, "want REF=FILE"}},
		{"argument that costs does not take", call{args: []string{"costs", "l4"}}, 2, []string{`"l4"`}},
		{"costs outside a checkout", call{dir: os.TempDir(), args: []string{"costs"}}, 2, []string{"clone"}},
		{"costs from no file", call{args: []string{"costs", "--from", "/nowhere/costs.json"}}, 2, []string{"--from", "/nowhere/costs.json", "no such file"}},
		{"costs from a text", call{args: []string{"costs", "--from", text}}, 2, []string{text, "lab costs -o json", "invalid character"}},
		{"costs from half a file", call{args: []string{"costs", "--from", short}}, 2, []string{short, "lab costs -o json", "cut short after 9 bytes"}},
		{"costs from a result of run", call{args: []string{"costs", "--from", result}}, 2, []string{result, "lab costs -o json", "is the result of a run"}},
		{"costs from no rows", call{args: []string{"costs", "--from", empty}}, 2, []string{empty, "it has no rows"}},
		{"costs from a list", call{args: []string{"costs", "--from", list}}, 2, []string{list, "lab costs -o json", "array"}},
		{"costs from another version", call{args: []string{"costs", "--from", file(`{"schema":9,"rows":[{}]}`)}}, 2, []string{"has schema 9, expected 1"}},
		{"report of another version of costs", call{args: []string{"report", file(`{"schema":9,"rows":[{}]}`)}}, 2, []string{"has schema 9, expected 1"}},
		{"report of half a file", call{args: []string{"report", short}}, 2, []string{short, "cut short after 9 bytes"}},
		{"report of costs against a run", call{args: []string{"report", file(measured), "--against", result}}, 2, []string{"--against compares runs", "table of costs"}},
		{"report of a run against costs", call{args: []string{"report", result, "--against", file(measured)}}, 2, []string{"--against", "is a table of costs"}},
		{"report of a run against half a file", call{args: []string{"report", result, "--against", short}}, 2, []string{"--against " + short + " is cut short"}},
		{"costs into no document", call{args: []string{"costs", "--from", file(measured), "--update", "/nowhere/README.md"}}, 2, []string{"--update", "/nowhere/README.md", "no such file"}},
		{"costs into a document without marks", call{args: []string{"costs", "--from", file(measured), "--update", unmarked}}, 2, []string{"--update " + unmarked, "<!-- NAME -->", "costs, guide, results"}},
		// The error comes before the lab boots a cluster.
		{"costs into a document with half a pair of marks", call{args: []string{"costs", "--update", half}}, 2, []string{"--update " + half, "<!-- results -->", "<!-- /results -->"}},
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
	lock, err := dirs.New(filepath.Join(cache, "grpc-lb"), root).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, command := range []string{"run", "costs", "up", "down"} {
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

// copyOfManifests returns a checkout of nothing but this repository's manifests:
// what a fork deploys beside them is not there.
func copyOfManifests(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"base", "overlays", "argocd"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range overlays(t, dir) {
		if !slices.Contains(strategies(), name) {
			withoutOverlay(t, dir, name)
		}
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), gomod, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// withoutOverlay removes an overlay, and its Application in whichever file.
func withoutOverlay(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "overlays", name)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "argocd/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), "path: overlays/"+name+"\n") {
			continue
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		kustomization := filepath.Join(dir, "argocd/kustomization.yaml")
		if content, err = os.ReadFile(kustomization); err != nil {
			t.Fatal(err)
		}
		write(t, kustomization, strings.Replace(string(content), "  - "+filepath.Base(file)+"\n", "", 1))
	}
}

func TestBrokenKustomization(t *testing.T) {
	copied, cache := copyOfManifests(t), t.TempDir()
	broken := filepath.Join(copied, "overlays/dns/kustomization.yaml")
	if err := os.WriteFile(broken, []byte("resources: [../nowhere]\n"), 0o600); err != nil {
		t.Fatal(err)
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
	manifests := copyOfManifests(t) // of this repository alone, also in a fork
	repository, err := manifest.Find(manifests)
	if err != nil {
		t.Fatal(err)
	}
	all, err := repository.All()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"help", []string{"--help"}, []string{"Examples:\n", "go run ./apps/lab run --only dns,k8s-api", "Exit codes:\n  0", "--require"}},
		{"help of up", []string{"up", "--help"}, []string{"Examples:\n", "--api-port"}},
		{"least rights", []string{"run", "--print-rbac", "--only", "k8s-api"}, []string{"kind: ClusterRole", "- grpc-lb-k8s-api\n", "- endpointslices\n", "create clusterrolebinding grpc-lb-lab"}},
		{"least rights of an experiment", []string{"run", "--print-rbac", "--only", "l4", "--experiment", "hpa"}, []string{"lab run --experiment hpa --context", "- horizontalpodautoscalers\n"}},
		{"least rights with certificates", []string{"run", "--print-rbac", "--experiment", "tls"}, []string{"- grpc-lb-k8s-api-tls\n", "- secrets\n"}},
		{"least rights of a page's buttons", []string{"watch", "--print-rbac", "--only", "l4"}, []string{"of lab watch --context", "- pods/portforward\n", "create clusterrolebinding grpc-lb-lab --clusterrole=grpc-lb-lab"}},
		{"completion", []string{"completion", "bash"}, []string{"# bash completion"}},
		{"completion of an overlay", []string{"__complete", "run", "--only", ""}, []string{strings.Join(all, "\n") + "\n"}},
		{"help of costs", []string{"costs", "--help"}, []string{"Examples:\n", "--runs", "--from", "--update"}},
		{"completion of an output of costs", []string{"__complete", "costs", "-o", ""}, []string{"table\njson\nmarkdown\n"}},
		{"completion of an output", []string{"__complete", "-o", ""}, []string{"table\njson\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call{dir: manifests, args: tt.args}.run(t)
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

// What was measured once is read back and printed in every form without a
// cluster or a checkout, and put into a document as often as is asked.
func TestCostsFromFile(t *testing.T) {
	dir := t.TempDir()
	measured, document := filepath.Join(dir, "costs.json"), filepath.Join(dir, "README.md")
	table := costs.Table{
		Runs: 2, Rate: 300, Rows: []costs.Row{
			{Strategy: "k8s-api", Balancer: "client", Runs: 2, P50: &costs.Spread{Min: 1, Median: 2, Max: 3}, Called: 9, Pairs: 9, NewPods: &costs.Spread{Min: .5, Median: .5, Max: .5}},
			{Strategy: "linkerd", Balancer: "proxy", NotRun: "no image"},
		},
	}
	content, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	blocks := costs.Markdown(table)
	var printed bytes.Buffer
	if err := costs.Write(&printed, table); err != nil {
		t.Fatal(err)
	}
	empty := "head\n<!-- results -->\n<!-- /results -->\n<!-- costs -->\n<!-- /costs -->\n<!-- guide -->\n<!-- /guide -->\ntail\n"
	for file, text := range map[string]string{measured: string(content), document: empty} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{name: "table", want: printed.String()},
		{name: "json", args: []string{"-o", "json"}, want: string(content) + "\n"},
		{name: "markdown", args: []string{"-o", "markdown"}, want: blocks["costs"] + "\n" + blocks["guide"]},
		{name: "update", args: []string{"--update", document}, want: printed.String()},
		{name: "update_again", args: []string{"--update", document}, want: printed.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := call{dir: dir, args: append([]string{"costs", "--from", measured}, tt.args...)}.run(t)
			if code != 0 || stderr != "" {
				t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
			}
			if diff := cmp.Diff(tt.want, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
		})
	}
	want, err := costs.Update(empty, blocks)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

// golden returns what was reviewed of an overlay's rendering, with the images of
// the release.
func golden(t *testing.T, overlay string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../manifest/testdata/golden", overlay+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, i := range releaseOf(t, root) {
		reference := i.NewName + ":" + i.NewTag
		if i.Digest != "" {
			reference += "@" + i.Digest
		}
		text = strings.ReplaceAll(text, "image: "+i.Name+"\n", "image: "+reference+"\n")
	}
	return text
}

func TestRender(t *testing.T) {
	// Any directory of the checkout will do.
	code, stdout, stderr := call{dir: filepath.Join(root, "base"), args: []string{"render", "l4"}}.run(t)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
	}
	if diff := cmp.Diff(golden(t, "l4"), stdout); diff != "" {
		t.Errorf("lab render l4 (-want +got):\n%s", diff)
	}
}

// With a directory each overlay becomes one file, as often as one likes; what
// else the directory holds is never mixed with them, and then nothing is written.
func TestRenderToDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below", "rendered")
	list := func() []string {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		var found []string
		for _, e := range entries {
			found = append(found, e.Name())
		}
		return found
	}
	call{args: []string{"render", "dns", "l5", "-o", dir}}.wantFailure(t, 2, `"l5"`)
	if found := list(); len(found) > 0 {
		t.Errorf("an unknown overlay left %v, want nothing", found)
	}
	for range 2 {
		if code, stdout, stderr := (call{args: []string{"render", "l4", "dns", "-o", dir}}).run(t); code != 0 || stdout+stderr != "" {
			t.Fatalf("exit code %d, want 0; output %q", code, stdout+stderr)
		}
	}
	if diff := cmp.Diff([]string{"dns.yaml", "l4.yaml"}, list()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range []string{"dns", "l4"} {
		got, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(golden(t, name), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	stranger := filepath.Join(dir, "old-overlay.yaml")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	call{args: []string{"render", "-o", dir}}.wantFailure(t, 2, "old-overlay.yaml", "another directory")
	call{args: []string{"render", "-o", stranger}}.wantFailure(t, 2, "not a directory")
	call{args: []string{"render", "-o", ""}}.wantFailure(t, 2, "--output-dir")
	if diff := cmp.Diff([]string{"dns.yaml", "l4.yaml", "old-overlay.yaml"}, list()); diff != "" {
		t.Errorf("files after a refusal (-want +got):\n%s", diff)
	}
}

// The line by which argocd/README.md moves Argo CD's files into another namespace leaves
// nothing for check to find; a file that it forgot would be.
func TestReadmeNamespace(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "argocd/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^    (sed -i '[^']*' .*argocd/root\.yaml)$`).FindStringSubmatch(string(text))
	if line == nil {
		t.Fatal("argocd/README.md has no sed for argocd/root.yaml")
	}
	for _, test := range []struct {
		command string
		code    int
	}{{line[1], 0}, {strings.TrimSuffix(line[1], " argocd/root.yaml"), 1}} {
		dir := copyOfManifests(t)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", test.command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", test.command, err, out)
		}
		if content, err := os.ReadFile(filepath.Join(dir, "argocd/kustomization.yaml")); err != nil || strings.Contains(string(content), "namespace: argocd\n") {
			t.Errorf("%s changed nothing: %v", test.command, err)
		}
		if code, stdout, stderr := (call{dir: dir, args: []string{"check"}}).run(t); code != test.code {
			t.Errorf("check after %s: exit code %d, want %d:\n%s%s", test.command, code, test.code, stdout, stderr)
		}
	}
}
