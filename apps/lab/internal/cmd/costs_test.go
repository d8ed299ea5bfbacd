package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The command that a table keeps says what was measured: which strategies, how
// often, with which images. It does not say where files lay.
func TestCostsSpelled(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(*costsOptions)
	}{
		{name: "defaults", want: " --runs 5 -o json"},
		{name: "runs", change: func(o *costsOptions) { o.runs = 2 }, want: " --runs 2 -o json"},
		{name: "only", change: func(o *costsOptions) { o.run.only = []string{"l4", "envoy"} }, want: " --runs 5 --only l4,envoy -o json"},
		{
			name: "images", change: func(o *costsOptions) { o.run.images = []string{"a/b:1=/x/y.tar", "c:2=z.tar"} },
			want: " --runs 5 --image a/b:1=FILE --image c:2=FILE -o json",
		},
		{name: "no_install", change: func(o *costsOptions) { o.run.noInstall = true }, want: " --runs 5 --no-install -o json"},
		{name: "nodes", change: func(o *costsOptions) { o.run.up.nodes = 3 }, want: " --runs 5 --nodes 3 -o json"},
		{name: "what_does_not_matter", change: func(o *costsOptions) {
			o.run.up.apiPort, o.run.output, o.update = 6443, "markdown", []string{"README.md"}
		}, want: " --runs 5 -o json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := costsOptions{runs: 5, run: runOptions{up: upOptions{nodes: defaultNodes}}}
			if test.change != nil {
				test.change(&o)
			}
			if diff := cmp.Diff(test.want, o.spelled()); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}
