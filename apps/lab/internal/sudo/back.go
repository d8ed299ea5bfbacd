//go:build unix

package sudo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// GiveBack gives what root owns in the trees, and in those that the go command
// writes to, to the user who called sudo. Trees that lie outside of that user's own
// directories stay as they are, and so does everything without sudo.
func GiveBack(trees ...string) error {
	user, called := caller()
	if !called {
		return nil
	}
	var errs []error
	for _, tree := range append(trees, goTrees()...) {
		errs = append(errs, user.take(tree))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("files of root are left in the cache of user %d: %w", user.uid, err)
	}
	return nil
}

// owner is the user who called sudo.
type owner struct{ uid, gid int }

func caller() (owner, bool) {
	uid, noUser := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, noGroup := strconv.Atoi(os.Getenv("SUDO_GID"))
	return owner{uid, gid}, os.Geteuid() == 0 && noUser == nil && noGroup == nil && uid > 0
}

// goTrees are the caches of the go command, where there is one.
func goTrees() (trees []string) {
	ask := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH", "GOTELEMETRYDIR")
	// Else it may start a child that writes root's files after they were given back.
	ask.Env = append(os.Environ(), "GO_TELEMETRY_CHILD=2")
	out, err := ask.Output()
	var env map[string]string
	if err != nil || json.Unmarshal(out, &env) != nil {
		return nil
	}
	for name, dir := range env {
		if name == "GOPATH" {
			dir = filepath.Join(dir, "pkg", "sumdb")
		}
		if filepath.IsAbs(dir) {
			trees = append(trees, dir)
		}
	}
	return trees
}

// take makes the user the owner of what is root's in a tree, and of the directories
// above it up to the first of the user's own.
func (u owner) take(tree string) error {
	if to, err := filepath.EvalSymlinks(tree); err == nil {
		tree = to
	}
	var above []string
	for dir := filepath.Dir(tree); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case of(info) == u.uid:
			for _, d := range above {
				if err := os.Lchown(d, u.uid, u.gid); err != nil {
					return err
				}
			}
			return u.takeBelow(tree)
		case of(info) != 0 || dir == filepath.Dir(dir):
			return nil // it is somebody else's
		default:
			above = append(above, dir)
		}
	}
}

func (u owner) takeBelow(tree string) error {
	root, err := os.OpenRoot(tree) // out of which no link leads
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another lab works here
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() && of(info) != 0 && strings.Index(d.Name(), "@") > 0 {
			return fs.SkipDir // a module's sources, most of all files, are one user's
		}
		if err != nil || of(info) != 0 || info.Mode().IsRegular() && info.Sys().(*syscall.Stat_t).Nlink > 1 {
			return err // a second name may be one outside of the tree
		}
		if err := root.Lchown(path, u.uid, u.gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func of(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
