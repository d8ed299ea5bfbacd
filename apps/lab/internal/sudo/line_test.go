package sudo_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// The line is what was typed, with the user's own PATH, HOME and what else is set for
// builds, in the words of a shell.
func TestLine(t *testing.T) {
	for _, test := range []struct {
		name         string
		parent, args []string
		home         string
		set          []string
		want         string
	}{
		{
			name: "go_run", parent: []string{"go", "run", "./apps/lab", "run", "--only", "l4,dns"}, args: []string{"/tmp/go-build1/lab", "run", "--only", "l4,dns"},
			home: "$HOME", want: `sudo env "PATH=$PATH" "HOME=$HOME" go run ./apps/lab run --only l4,dns`,
		},
		{
			name: "go_by_its_path", parent: []string{"/usr/local/go/bin/go", "-C", "x", "run", "./apps/lab"}, args: []string{"lab"},
			home: "$HOME", want: `sudo env "PATH=$PATH" "HOME=$HOME" go -C x run ./apps/lab`,
		},
		{
			name: "built", parent: []string{"bash"}, args: []string{"./lab", "up", "--image", "a b=it's"}, set: []string{"GOPROXY", "XDG_CACHE_HOME"},
			home: "$HOME", want: `sudo env "PATH=$PATH" "HOME=$HOME" "XDG_CACHE_HOME=$XDG_CACHE_HOME" "GOPROXY=$GOPROXY" ./lab up --image 'a b=it'\''s'`,
		},
		{name: "go_test_runs_it", parent: []string{"go", "test"}, args: []string{"lab"}, home: "/root", want: `sudo env "PATH=$PATH" "HOME=/root" lab`},
		{name: "no_parent", args: []string{"lab", "status"}, home: "$HOME", want: `sudo env "PATH=$PATH" "HOME=$HOME" lab status`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := sudo.LineOf(test.parent, test.args, test.home, func(name string) bool { return slices.Contains(test.set, name) })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
