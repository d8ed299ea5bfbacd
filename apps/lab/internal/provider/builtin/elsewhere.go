//go:build linux

package builtin

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// Elsewhere says where this checkout's cluster runs if another user than the one of
// the cache made it, root by sudo or who called sudo, or "".
func Elsewhere(d Dirs, root string) string {
	return elsewhere(cgroupRoot, d, root, "0", os.Getenv("SUDO_UID"))
}

func elsewhere(cgroups string, d Dirs, root string, uids ...string) string {
	for _, uid := range uids {
		u, err := user.LookupId(uid)
		if err != nil {
			continue
		}
		other := NewDirs(filepath.Join(u.HomeDir, ".cache", "grpc-lb"), root)
		if other.ID == d.ID || !populated(cgroups, other.cgroup()) {
			continue
		}
		if uid == "0" {
			return fmt.Sprintf("this checkout's cluster is root's, in %s: run: %s", other.Cache, sudo.LineAt(u.HomeDir))
		}
		return fmt.Sprintf("this checkout's cluster is %s's, in %s: run the lab without sudo", u.Username, other.Cache)
	}
	return ""
}

// populated tells whether a group or one below it has processes.
func populated(root, group string) (found bool) {
	roots, _ := cgroupHierarchies(root)
	for _, r := range roots {
		_ = filepath.WalkDir(filepath.Join(r, group), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				found = found || len(words(path)) > 0
			}
			return nil
		})
	}
	return found
}
