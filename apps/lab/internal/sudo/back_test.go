//go:build unix

package sudo_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

const user, group = 65534, 65533

// What root made in the user's caches and those of the go command becomes the user's,
// with the directories above; what others own, what lies elsewhere, what a link leads
// to and what has a second name elsewhere stays as it is.
func TestGiveBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of several users")
	}
	for _, test := range []struct {
		name     string
		uid, gid string
		want     map[string]int // owner, where it is not root
	}{
		{
			name: "sudo", uid: "65534", gid: "65533",
			want: map[string]int{
				"home": user, "home/.cache": user, "home/.cache/lab": user, "home/.cache/lab/file": user, "home/.cache/lab/link": user, "home/.cache/lab/dir": user,
				"home/.cache/lab/other": 1234, "home/go": user, "home/go/build": user, "home/go/build/a": user,
				"home/go/mod": user, "home/go/mod/x@v1": user, "home/go/mod/x@v1/a": user, "home/go/mod/@v": user, "home/go/mod/@v/a": user,
			},
		},
		{name: "root_without_sudo", want: map[string]int{"home": user, "home/.cache/lab/other": 1234}},
		{name: "root_by_sudo_of_root", uid: "0", gid: "0", want: map[string]int{"home": user, "home/.cache/lab/other": 1234}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			at := func(path string) string { return filepath.Join(dir, path) }
			for _, d := range []string{"home/.cache/lab/dir", "home/go/build", "home/go/mod/x@v1", "home/go/mod/@v", "roots/lab"} {
				if err := os.MkdirAll(at(d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range []string{"outside", "home/.cache/lab/file", "home/.cache/lab/other", "home/go/build/a", "home/go/mod/x@v1/a", "home/go/mod/@v/a", "home/kept", "roots/lab/file"} {
				if err := os.WriteFile(at(f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, err := range []error{
				os.Symlink(at("outside"), at("home/.cache/lab/link")),
				os.Link(at("outside"), at("home/.cache/lab/second-name")),
				os.Chown(at("home"), user, group), os.Chown(at("home/.cache/lab/other"), 1234, 1234),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("SUDO_UID", test.uid)
			t.Setenv("SUDO_GID", test.gid)
			for name, path := range map[string]string{"GOCACHE": "home/go/build", "GOMODCACHE": "home/go/mod", "GOPATH": "roots/go", "HOME": "roots"} {
				t.Setenv(name, at(path))
			}
			for range 2 { // the second finds nothing to do
				if err := sudo.GiveBack(at("home/.cache/lab"), at("roots/lab"), at("home/nowhere/at-all")); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]int{}
			if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if uid := int(info.Sys().(*syscall.Stat_t).Uid); err == nil && uid != 0 {
					got[path] = uid
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
		})
	}
}
