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
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// repoURL is where the copy is served inside of the cluster, and branch what of
// it is deployed.
const (
	repoURL = "git://git.argocd.svc:9418/grpc-lb.git"
	branch  = "main"
)

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
func newSource(ctx context.Context, cfg Config, note func(string, ...any)) (*source, error) {
	dir, root := cfg.Dir, cfg.Root
	s := &source{dir: dir, kube: cfg.Kube, note: note}
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
	if _, err := git(ctx, dir, "init", "--quiet", "--initial-branch="+branch); err != nil {
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
	if err := s.pointAtItself(cfg.Images); err != nil {
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

// pointAtItself makes the only changes that a fork makes: the repository, where
// argocd/ names it, Argo CD's namespace, and the images of the release.
func (s *source) pointAtItself(images map[string]string) error {
	was, err := release.ReadRepository(s.dir)
	if err == nil {
		s.note("in the copy alone: the repository %s becomes %s", was.URL, repoURL)
		err = release.SetRepository(s.dir, release.Repository{URL: repoURL, Branch: branch})
	}
	if err == nil {
		err = s.setNamespace()
	}
	if err == nil {
		err = s.setImages(images)
	}
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	return nil
}

// setNamespace puts the namespace in which the lab installs Argo CD in place of the
// checkout's.
func (s *source) setNamespace() error {
	namespace, err := s.value("argocd/kustomization.yaml", "namespace: ")
	if err != nil || namespace == Namespace {
		return err
	}
	for _, file := range []string{"argocd/kustomization.yaml", "argocd/root.yaml"} {
		if err := s.edit(file, "namespace: "+namespace+"\n", "namespace: "+Namespace+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// setImages puts other images, by their tags, in place of released ones.
func (s *source) setImages(images map[string]string) error {
	for _, to := range images {
		if _, tag, _ := manifest.SplitReference(to); tag == "" {
			return fmt.Errorf("image %q has no tag", to)
		}
	}
	path := filepath.Join(s.dir, release.Component)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	left := maps.Clone(images)
	content, err = release.SetImages(content, func(image types.Image) types.Image {
		if to, ok := images[image.NewName]; ok {
			delete(left, image.NewName)
			s.note("in the copy alone: image %s becomes %s", image.NewName, to)
			image.NewName, image.NewTag, image.Digest = manifest.SplitReference(to)
		}
		return image
	})
	if err != nil {
		return fmt.Errorf("%s: %w", release.Component, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("%s names no image %s", release.Component, strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	return os.WriteFile(path, content, 0o644)
}

// addImage gives an overlay another tag of an image that it renders.
func (s *source) addImage(name, ref string) error {
	image, tag, _ := manifest.SplitReference(ref)
	file := filepath.Join("overlays", name, "kustomization.yaml")
	path := filepath.Join(s.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	var k types.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return fmt.Errorf("argocd: %s: %w", file, err)
	}
	k.Images = append(k.Images, types.Image{Name: image, NewTag: tag})
	s.note("in the copy alone: image %s in %s", ref, file)
	if content, err = yaml.Marshal(k); err != nil {
		return fmt.Errorf("argocd: %s: %w", file, err)
	}
	return os.WriteFile(path, content, 0o644)
}

// value reads what a file of the copy gives in a line.
func (s *source) value(file, field string) (string, error) {
	content, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return "", fmt.Errorf("argocd: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("argocd: %s has no line with %q", file, field)
}

// rate returns how many calls a second each client of an overlay makes, from the
// overlay's rendering.
func (s *source) rate(overlay string) (int, error) {
	rendered, err := manifest.Build(filesys.MakeFsOnDisk(), filepath.Join(s.dir, "overlays", overlay))
	if err != nil {
		return 0, fmt.Errorf("argocd: rendering %s: %w", overlay, err)
	}
	objects, err := manifest.Decode(rendered)
	if err != nil {
		return 0, err
	}
	client, _ := manifest.Component(objects, manifest.Client)
	rate, err := strconv.Atoi(manifest.Setting(manifest.MainContainer(client.Spec.Template), "rate"))
	if err != nil {
		return 0, fmt.Errorf("argocd: the rate of %s's client: %w", overlay, err)
	}
	return rate, nil
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
	return s.publish(ctx, branch)
}

// publish pushes HEAD to a branch of the repository in the cluster.
func (s *source) publish(ctx context.Context, to string) (commit string, err error) {
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
	s.note("push %.7s to %s", commit, to)
	_, err = git(ctx, s.dir, "push", "--quiet", "--force", fmt.Sprintf("git://127.0.0.1:%d/grpc-lb.git", port), "HEAD:refs/heads/"+to)
	return commit, err
}

// back undoes the last commit by a new one.
func (s *source) back(ctx context.Context) (commit string, err error) {
	if _, err := git(ctx, s.dir, "-c", "user.name=grpc-lb lab", "-c", "user.email=lab@localhost", "revert", "--no-edit", "HEAD"); err != nil {
		return "", err
	}
	return s.publish(ctx, branch)
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
