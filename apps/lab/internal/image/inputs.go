package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// goPackage is the part of `go list -json` that names a package's files.
type goPackage struct {
	Dir        string
	ImportPath string
	Module     *struct {
		Main    bool
		GoMod   string
		Replace *struct{ Version string } // empty for a directory
	}
	GoFiles    []string
	CgoFiles   []string
	CFiles     []string
	HFiles     []string
	SFiles     []string
	SysoFiles  []string
	EmbedFiles []string
}

// inputs returns 12 hex digits that change whenever the image would: with the
// program's files in this checkout's modules, the versions of all others, the settings, the
// toolchain and ko itself.
func inputs(ctx context.Context, cfg Config, program string) (string, error) {
	files := []string{filepath.Join(cfg.Root, "go.mod"), filepath.Join(cfg.Root, "go.sum"), filepath.Join(cfg.Root, ".ko.yaml"), cfg.Ko}
	listed, err := run(ctx, cfg.Root, []string{"GOOS=linux", "GOARCH=" + cfg.Arch}, "go", "list", "-deps", "-json=Dir,ImportPath,Module,GoFiles,CgoFiles,CFiles,HFiles,SFiles,SysoFiles,EmbedFiles", "./apps/"+program)
	if err != nil {
		return "", err
	}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("image: reading `go list` of apps/%s: %w", program, err)
		}
		m := p.Module
		if m == nil || !m.Main && (m.Replace == nil || m.Replace.Version != "") {
			continue // pinned by go.mod and go.sum
		}
		if !slices.Contains(files, m.GoMod) {
			files = append(files, m.GoMod)
		}
		for _, file := range slices.Concat(p.GoFiles, p.CgoFiles, p.CFiles, p.HFiles, p.SFiles, p.SysoFiles, p.EmbedFiles) {
			files = append(files, filepath.Join(p.Dir, file))
		}
	}
	version, err := run(ctx, cfg.Root, nil, "go", "env", "GOVERSION", "GOFLAGS")
	if err != nil {
		return "", err
	}
	base, err := emptyBase(NonRoot, "").Digest() // the same for nodes of all architectures
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s\n%s\n%s\n", program, version, base) // a hash takes everything
	for _, file := range files {
		if err := addFile(sum, cfg.Root, file); err != nil {
			return "", fmt.Errorf("image: hashing what %s is built from: %w", program, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// addFile adds a file's name within the checkout and its content.
func addFile(sum io.Writer, root, file string) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	content := sha256.New()
	if _, err := io.Copy(content, opened); err != nil {
		return err
	}
	shown := filepath.Base(file)
	if relative, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(relative) {
		shown = relative
	}
	_, err = fmt.Fprintf(sum, "%s %x\n", shown, content.Sum(nil))
	return err
}

func run(ctx context.Context, dir string, env []string, program string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("image: %s %s: %w\n%s", program, args[0], err, tail(stderr.String(), 15))
	}
	return out, nil
}
