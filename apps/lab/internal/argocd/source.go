package argocd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// repoURL is where the copy is served inside of the cluster.
const repoURL = "git://git.argocd.svc:9418/grpc-lb.git"

// ErrDirty says that the copy of HEAD would lack what is not committed.
var ErrDirty = errors.New("the checkout has uncommitted changes: commit them, or copy them too with --dirty")

// CheckClean returns ErrDirty, with the first file, unless HEAD is what lies in
// the checkout.
func CheckClean(ctx context.Context, root string) error {
	out, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if first, _, _ := strings.Cut(out, "\n"); first != "" {
		return fmt.Errorf("%w (%s)", ErrDirty, strings.TrimSpace(first))
	}
	return nil
}

// source is a git repository of its own with a copy of the checkout's files.
type source struct {
	dir  string
	kube *kube.Client
	note func(format string, args ...any)
}

// newSource copies the checkout's files, tracked and, where they are to be
// part of it, new ones, into an empty directory, and points the copy at itself:
// to its own URL and to images that the nodes have.
func newSource(ctx context.Context, k *kube.Client, dir, root string, images map[string]string, note func(string, ...any)) (*source, error) {
	s := &source{dir: dir, kube: k, note: note}
	head, err := git(ctx, root, "rev-parse", "--short", "HEAD")
	if err != nil {
		return nil, err
	}
	listed, err := git(ctx, root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	for file := range strings.SplitSeq(listed, "\x00") {
		if err := copyFile(filepath.Join(root, file), filepath.Join(dir, file)); err != nil {
			return nil, fmt.Errorf("argocd: copying the checkout: %w", err)
		}
	}
	if _, err := git(ctx, dir, "init", "--quiet", "--initial-branch=main"); err != nil {
		return nil, err
	}
	changes, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changes != "" {
		head += " with uncommitted changes"
	}
	note("copy the files of %s into a repository of its own", head)
	if err := s.pointAtItself(images); err != nil {
		return nil, err
	}
	return s, s.commit(ctx, "copy of "+head)
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil // deleted in the working tree, or the end of the list
	}
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// pointAtItself makes the only changes that a fork makes: the repository's URL,
// where argocd/ names it, and the images of base.
func (s *source) pointAtItself(images map[string]string) error {
	url, err := s.url()
	if err != nil {
		return err
	}
	for _, file := range []string{"argocd/repository.yaml", "argocd/root.yaml"} {
		if err := s.edit(file, url, repoURL); err != nil {
			return err
		}
	}
	return s.setImages(images)
}

// setImages does what `kustomize edit set image` does to base and to the overlays
// that put another image in place of base's.
func (s *source) setImages(images map[string]string) error {
	files, err := filepath.Glob(filepath.Join(s.dir, "overlays", "*", "kustomization.yaml"))
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	set := map[string]bool{}
	for _, file := range append([]string{filepath.Join(s.dir, "base", "kustomization.yaml")}, files...) {
		if err := s.setImagesIn(file, images, set); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		if !set[name] {
			return fmt.Errorf("argocd: base/kustomization.yaml names no image %s, nor does an overlay", name)
		}
	}
	return nil
}

func (s *source) setImagesIn(path string, images map[string]string, set map[string]bool) error {
	file, _ := filepath.Rel(s.dir, path)
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	var k types.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return fmt.Errorf("argocd: %s: %w", file, err)
	}
	changed := false
	for i, its := range k.Images {
		if to, ok := images[its.Name]; ok { // base's, as it is called now
			name, _, err := cutTag(to)
			if err != nil {
				return err
			}
			k.Images[i].Name, changed = name, true
		}
		to, ok := images[its.NewName]
		if !ok {
			continue
		}
		name, tag, err := cutTag(to)
		if err != nil {
			return err
		}
		k.Images[i].NewName, k.Images[i].NewTag = name, tag
		s.note("in the copy alone: image %s becomes %s in %s", its.NewName, to, file)
		changed, set[its.NewName] = true, true
	}
	if !changed {
		return nil
	}
	if content, err = yaml.Marshal(k); err != nil {
		return fmt.Errorf("argocd: %s: %w", file, err)
	}
	return os.WriteFile(path, content, 0o644)
}

// cutTag splits a reference at its tag: a port has a colon, too.
func cutTag(ref string) (name, tag string, err error) {
	at := strings.LastIndexByte(ref, ':')
	if at <= strings.LastIndexByte(ref, '/') {
		return "", "", fmt.Errorf("argocd: image %q has no tag", ref)
	}
	return ref[:at], ref[at+1:], nil
}

// url reads the repository's URL from the one place that gives it.
func (s *source) url() (string, error) {
	const file = "argocd/repository.yaml"
	content, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return "", fmt.Errorf("argocd: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), "url: "); ok {
			return url, nil
		}
	}
	return "", fmt.Errorf("argocd: %s names no url", file)
}

// edit replaces a text in a file of the copy. That it is not there is an error.
func (s *source) edit(file, from, to string) error {
	path := filepath.Join(s.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	if !strings.Contains(string(content), from) {
		return fmt.Errorf("argocd: %s does not contain %q", file, from)
	}
	s.note("in the copy alone: replace %s by %s in %s", from, strings.TrimSpace(to), file)
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(content), from, to)), 0o644)
}

// write adds a file to the copy.
func (s *source) write(file, content string) error {
	path := filepath.Join(s.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	s.note("in the copy alone: add %s", file)
	return os.WriteFile(path, []byte(content), 0o644)
}

func (s *source) commit(ctx context.Context, message string) error {
	if _, err := git(ctx, s.dir, "add", "--all"); err != nil {
		return err
	}
	_, err := git(ctx, s.dir, "-c", "user.name=grpc-lb lab", "-c", "user.email=lab@localhost", "commit", "--quiet", "--message="+message)
	return err
}

// push commits what was changed, pushes it and returns the commit.
func (s *source) push(ctx context.Context, message string) (commit string, err error) {
	if err := s.commit(ctx, message); err != nil {
		return "", err
	}
	return s.publish(ctx, "main")
}

// publish pushes HEAD to a branch of the repository in the cluster.
func (s *source) publish(ctx context.Context, branch string) (commit string, err error) {
	if commit, err = git(ctx, s.dir, "rev-parse", "HEAD"); err != nil {
		return "", err
	}
	pod, err := s.kube.Pod(ctx, Namespace, "app.kubernetes.io/name=git")
	if err != nil {
		return "", fmt.Errorf("argocd: the git repository: %w", err)
	}
	port, stop, err := s.kube.Forward(ctx, Namespace, pod, gitPort)
	if err != nil {
		return "", fmt.Errorf("argocd: the git repository: %w", err)
	}
	defer stop()
	s.note("push %.7s to %s", commit, branch)
	_, err = git(ctx, s.dir, "push", "--quiet", "--force", fmt.Sprintf("git://127.0.0.1:%d/grpc-lb.git", port), "HEAD:refs/heads/"+branch)
	return commit, err
}

// back undoes the last commit by a new one.
func (s *source) back(ctx context.Context) (commit string, err error) {
	if _, err := git(ctx, s.dir, "-c", "user.name=grpc-lb lab", "-c", "user.email=lab@localhost", "revert", "--no-edit", "HEAD"); err != nil {
		return "", err
	}
	return s.publish(ctx, "main")
}

// git runs git with no settings but the repository's and returns what it printed.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("argocd: git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
