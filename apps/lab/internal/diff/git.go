package diff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// defaultBases are tried in this order where no ref is given.
var defaultBases = []string{"origin/main", "main"}

// Base is the commit that a working tree is compared with.
type Base struct {
	Ref    string // as given or found
	Commit string // the merge base of Ref and HEAD
}

func (b Base) String() string {
	return fmt.Sprintf("commit %.7s, the merge base of %s and HEAD", b.Commit, b.Ref)
}

// FindBase returns the merge base of HEAD and a ref, or of HEAD and the main
// branch if ref is "", in the git repository around root. An error says what to do.
func FindBase(ctx context.Context, root, ref string) (Base, error) {
	if _, err := git(ctx, root, nil, "rev-parse", "--git-dir"); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return Base{}, errors.New("git is not on PATH: install it to compare with a commit")
		}
		hint := ""
		if strings.Contains(err.Error(), "not a git repository") {
			hint = ": clone the repository instead of unpacking it"
		}
		return Base{}, fmt.Errorf("%s cannot be compared with a commit: %w%s", root, err, hint)
	}
	if !isCommit(ctx, root, "HEAD") {
		return Base{}, fmt.Errorf("HEAD of %s has no commit to compare with: commit first", root)
	}
	shallow, err := git(ctx, root, nil, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return Base{}, err
	}
	fetch := "git fetch"
	if shallow == "true" {
		fetch += " --unshallow"
	}
	if ref, err = findRef(ctx, root, ref, fetch); err != nil {
		return Base{}, err
	}
	commit, err := git(ctx, root, nil, "merge-base", ref, "HEAD")
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return Base{Ref: ref, Commit: commit}, nil
	case !errors.As(err, &exit) || exit.ExitCode() != 1: // git says 1 for none
		return Base{}, err
	case shallow == "true":
		return Base{}, fmt.Errorf("this shallow clone holds no merge base of %s and HEAD: `%s`", ref, fetch)
	}
	return Base{}, fmt.Errorf("%s and HEAD have no commit in common: name another ref with --base", ref)
}

// findRef returns a ref that is a commit of this clone.
func findRef(ctx context.Context, root, ref, fetch string) (string, error) {
	if ref != "" {
		if strings.HasPrefix(ref, "-") || !isCommit(ctx, root, ref) {
			hint := fetch
			if branch, ok := strings.CutPrefix(ref, "origin/"); ok {
				hint = fmt.Sprintf("%s origin +%s:refs/remotes/origin/%[2]s", fetch, branch)
			}
			return "", fmt.Errorf("--base %s: this clone has no such commit: `%s`, or name another ref", ref, hint)
		}
		return ref, nil
	}
	for _, ref := range defaultBases {
		if isCommit(ctx, root, ref) {
			return ref, nil
		}
	}
	return "", fmt.Errorf("this clone has neither %s: `%s origin +main:refs/remotes/origin/main`, or name a ref with --base", strings.Join(defaultBases, " nor "), fetch)
}

func isCommit(ctx context.Context, root, ref string) bool {
	_, err := git(ctx, root, nil, "rev-parse", "--quiet", "--verify", ref+"^{commit}")
	return err == nil
}

// Extract writes the commit's files to an empty directory and returns the
// checkout in it. The files are those that git checks out; an archive can lack
// some of them, because of .gitattributes. The clone's index stays as it is.
func (b Base) Extract(ctx context.Context, root, dir string) (*manifest.Repository, error) {
	below, err := git(ctx, root, nil, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, err
	}
	top, err := git(ctx, root, nil, "rev-parse", "--show-toplevel") // or only what is below root would be written
	if err != nil {
		return nil, err
	}
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	tree := filepath.Join(dir, "tree")
	if _, err := git(ctx, top, index, "read-tree", "--no-sparse-checkout", b.Commit); err != nil {
		return nil, err
	}
	if _, err := git(ctx, top, index, "checkout-index", "--all", "--prefix="+tree+string(filepath.Separator)); err != nil {
		return nil, err
	}
	at := filepath.Join(tree, filepath.FromSlash(below))
	repository, err := manifest.Find(at)
	if err != nil || repository.Root() != at {
		return nil, fmt.Errorf("%s holds no checkout of this repository: name another ref with --base", b)
	}
	return repository, nil
}

// git runs git with more variables and returns what it prints. Its errors hold
// what git says.
func git(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C"), env...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.Join(strings.Fields(said.String()), " "))
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}
