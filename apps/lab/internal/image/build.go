package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are what this repository releases: the name of the image and the
// folder under apps/.
var Programs = []string{"echo-server", "echo-client", "echo-client-xds"}

// Config says how images are built.
type Config struct {
	// Root is the checkout: its .ko.yaml holds the release's settings.
	Root string
	// Ko is the path of the ko program.
	Ko string
	// Cache keeps the archives by the hash of what they were built from.
	Cache string
	// Arch is the architecture of the nodes that run them, such as arm64.
	Arch string
	// Detail gets what is done at the moment; nil is silent.
	Detail func(text string)
}

// Built is one image.
type Built struct {
	// Name is that of the program and of the image in the base's manifests.
	Name string
	// Ref is its name on nodes of every kind: lab.local/<name>:<hash>.
	Ref string
	// Archive is a docker-save file for Cluster.LoadImages.
	Archive string
}

// Build returns the images of Programs, built anew only where an input changed.
func Build(ctx context.Context, cfg Config) ([]Built, error) {
	var all []Built
	for _, program := range Programs {
		hash, err := inputs(ctx, cfg, program)
		if err != nil {
			return nil, err
		}
		built := Built{
			Name:    program,
			Ref:     "lab.local/" + program + ":" + hash,
			Archive: filepath.Join(cfg.Cache, program+"-"+hash+"-"+cfg.Arch+".tar"),
		}
		if _, err := os.Stat(built.Archive); errors.Is(err, os.ErrNotExist) {
			cfg.detail("building " + program + " with ko")
			err = build(ctx, cfg, built, hash)
			if err != nil {
				return nil, err
			}
		} else if err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
		all = append(all, built)
	}
	return all, nil
}

func build(ctx context.Context, cfg Config, built Built, tag string) error {
	base, stop, err := serveBase(ctx, cfg.Arch)
	if err != nil {
		return err
	}
	defer stop()
	return replace(built.Archive, func(file string) error {
		var output bytes.Buffer
		ko := exec.CommandContext(ctx, cfg.Ko, "build", "./apps/"+built.Name,
			"--push=false", "--tarball="+file, "--platform="+platform(cfg.Arch).String(),
			"--base-import-paths", "--tags="+tag, "--sbom=none")
		ko.Dir = cfg.Root
		ko.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KO_") }),
			"KO_DOCKER_REPO=lab.local", "KO_DEFAULTBASEIMAGE="+base)
		ko.Stdout, ko.Stderr = &output, &output
		if err := ko.Run(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s build ./apps/%s: %w\n%s", cfg.Ko, built.Name, err, tail(output.String(), 15))
		}
		return nil
	})
}

func (c Config) detail(text string) {
	if c.Detail != nil {
		c.Detail(text)
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
