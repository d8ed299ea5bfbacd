//go:build linux

// Package nodeimage makes what a real test of kind needs on a machine without
// Docker: a node image of the lab's own components on a Debian root file system,
// and a Docker daemon that leaves nothing.
package nodeimage

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
)

// ErrMachine says that this machine can make no node image, or run no Docker.
var ErrMachine = errors.New("this machine cannot")

// sources decide the image's content.
//
//go:embed *.go files
var sources embed.FS

// Config says what an image is made from.
type Config struct {
	Root  string // the checkout
	Cache string // the lab's cache
	// Detail gets what is done at the moment; it must not be nil.
	Detail func(string)
}

// Image is a node image in a docker-save archive.
type Image struct {
	Ref  string
	File string
}

// Build makes the image, or returns the one that was made of the same components.
func Build(ctx context.Context, c Config) (Image, error) {
	suite, err := checkMachine(ctx, c.Detail)
	if err != nil {
		return Image{}, err
	}
	b := component.Builder{Root: c.Root, Cache: c.Cache}
	step := func(ctx context.Context, name string, limit time.Duration, f func(context.Context, func(string)) error) error {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
		defer cancel()
		return f(ctx, func(text string) { c.Detail(name + ": " + text) })
	}
	programs, versions, err := b.BuildAll(ctx, component.Cluster, step)
	if err != nil {
		return Image{}, err
	}
	kind, err := moduleDir(ctx, c.Root, "sigs.k8s.io/kind")
	if err != nil {
		return Image{}, err
	}
	key, err := contentKey(suite, kind, programs)
	if err != nil {
		return Image{}, err
	}
	dir := filepath.Join(c.Cache, "kind")
	i := Image{Ref: "lab.local/node:" + key, File: filepath.Join(dir, "node-"+key+".tar")}
	if _, err := os.Stat(i.File); err == nil {
		return i, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return i, err
	}
	scratch, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return i, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	m := making{ctx: ctx, detail: c.Detail, suite: suite, kind: kind, programs: programs, versions: versions, scratch: scratch, root: filepath.Join(scratch, "root")}
	for _, do := range []func() error{m.debian, m.files, m.system, func() error { return m.pack(i) }} {
		if err := do(); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return i, fmt.Errorf("nodeimage: %w", err)
		}
	}
	old, _ := filepath.Glob(filepath.Join(dir, "node-*.tar"))
	for _, file := range old {
		if file != i.File {
			_ = os.Remove(file)
		}
	}
	return i, nil
}

// checkMachine returns the suite of Debian that the image is made from, which is
// that of this machine.
func checkMachine(ctx context.Context, detail func(string)) (suite string, err error) {
	release, _ := os.ReadFile("/etc/os-release")
	values := map[string]string{}
	for line := range strings.Lines(string(release)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.Trim(value, `"`)
	}
	switch {
	case runtime.GOOS != "linux":
		return "", fmt.Errorf("%w: it needs Linux, this is %s", ErrMachine, runtime.GOOS)
	case os.Geteuid() != 0:
		return "", fmt.Errorf("%w: it needs root, this is user %d", ErrMachine, os.Geteuid())
	case values["ID"] != "debian" || values["VERSION_CODENAME"] == "":
		return "", fmt.Errorf("%w: it needs Debian's packages, this is %s", ErrMachine, values["PRETTY_NAME"])
	}
	if err := debian.Install(ctx, map[string]string{"mmdebstrap": "mmdebstrap"}, detail); err != nil {
		return "", err
	}
	return values["VERSION_CODENAME"], nil
}

func moduleDir(ctx context.Context, root, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("nodeimage: go mod download %s: %w", module, err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil || found.Dir == "" {
		return "", fmt.Errorf("nodeimage: go mod download %s gave %q", module, out)
	}
	return found.Dir, nil
}

// contentKey hashes what the image is made from. The names of the components'
// directories hold hashes of what they were built from.
func contentKey(suite, kind string, programs map[string]string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, suite, runtime.GOARCH, packages, filepath.Base(kind))
	for _, dir := range slices.Sorted(maps.Values(programs)) {
		fmt.Fprintln(sum, filepath.Base(dir))
	}
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := sources.ReadFile(path)
		fmt.Fprintln(sum, path, len(content))
		sum.Write(content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))[:12], err
}

// making is an image that is being made.
type making struct {
	ctx                context.Context
	detail             func(string)
	suite, kind        string
	programs, versions map[string]string
	scratch, root      string
}

// run runs a program, whose last words are part of the error.
func (m making) run(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(m.ctx, program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return "", fmt.Errorf("%s: %w:\n  %s", program, err, strings.Join(lines[max(0, len(lines)-8):], "\n  "))
	}
	return string(out), nil
}

// pack writes the root file system as the one layer of an image.
func (m making) pack(i Image) error {
	m.detail("packing the node image")
	layerFile := filepath.Join(m.scratch, "layer.tar.gz")
	if err := m.tar(layerFile); err != nil {
		return err
	}
	layer, err := tarball.LayerFromFile(layerFile)
	if err != nil {
		return err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Env:        []string{"container=docker", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
			StopSignal: "SIGRTMIN+3",
		},
	})
	if err != nil {
		return err
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return err
	}
	tag, err := name.NewTag(i.Ref)
	if err != nil {
		return err
	}
	written := filepath.Join(m.scratch, "node.tar")
	if err := tarball.WriteToFile(written, tag, img); err != nil {
		return err
	}
	return os.Rename(written, i.File)
}

func (m making) tar(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	compressed, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(m.ctx, "tar", "--numeric-owner", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "-C", m.root, "-cf", "-", ".")
	cmd.Stdout = compressed
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tar: %w", err)
	}
	return errors.Join(compressed.Close(), out.Sync())
}

// Load puts the image into the Docker that answers, unless that has it.
func Load(ctx context.Context, i Image) error {
	if exec.CommandContext(ctx, "docker", "image", "inspect", i.Ref).Run() == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "docker", "load", "--quiet", "--input", i.File)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nodeimage: docker load: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// copyFile writes a program or file into the image.
func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return errors.Join(out.Chmod(mode), out.Close())
}
