package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// envoyValid is the rule that Envoy itself judges.
var envoyValid = check.Rule{Name: "envoy-valid", Remedy: "mend what Envoy refuses", Family: check.Balancing}

// errNoEnvoy says that nothing can validate.
var errNoEnvoy = errors.New("no envoy is on PATH, and the lab has built none: `lab run --only envoy` builds it")

// envoy returns a program that validates configurations: the machine's, else the lab's.
func (c checkout) envoy() (string, error) {
	if program, err := exec.LookPath("envoy"); err == nil {
		return program, nil
	}
	if c.repository == nil { // outside of a checkout the lab keeps none
		return "", errNoEnvoy
	}
	dir, built, err := (component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}).Path(component.Envoy)
	if err != nil || !built {
		return "", errNoEnvoy
	}
	return filepath.Join(dir, "envoy"), nil
}

// validateEnvoys lets Envoy validate every configuration among the objects, and says why
// it did not.
func (c checkout) validateEnvoys(ctx context.Context, objects []manifest.Object) (found []check.Violation, notRun string) {
	for _, config := range balance.Foreign(objects).EnvoyConfigs() {
		program, err := c.envoy()
		if err != nil {
			return found, err.Error()
		}
		err = validateEnvoy(ctx, program, config.Content)
		if errors.Is(err, errOnlyInPod) {
			notRun = fmt.Sprintf("%s: %v", manifest.Describe(config.In), err)
			continue
		}
		if err != nil {
			found = append(found, check.Violation{
				Rule: envoyValid.Name, Family: envoyValid.Family, Object: manifest.Describe(config.In), Text: err.Error(), Remedy: envoyValid.Remedy,
			})
		}
	}
	return found, notRun
}

// errOnlyInPod says that the configuration names files that only the pod has.
var errOnlyInPod = errors.New("the configuration names a file that only the pod has")

// missingFile matches what Envoy says of a file that is not there.
var missingFile = regexp.MustCompile(`(?i)invalid path: (\S+)|(?:file|path|paths) \S* ?(?:does not exist|must refer to an existing path)|unable to read file`)

// validateEnvoy runs Envoy in the mode that validates and exits.
func validateEnvoy(ctx context.Context, program, content string) error {
	dir, err := os.MkdirTemp("", "lab-envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, program, "--mode", "validate", "--config-path", file).CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(strings.ReplaceAll(string(out), file, "envoy.yaml"))
	for line := range strings.Lines(said) {
		if _, text, ok := strings.Cut(line, "error initializing configuration 'envoy.yaml': "); ok {
			if missingFile.MatchString(text) {
				return fmt.Errorf("%w: %s", errOnlyInPod, strings.TrimSpace(text))
			}
			return fmt.Errorf("Envoy refuses it: %s", strings.TrimSpace(text)) //nolint:staticcheck // a name
		}
	}
	return fmt.Errorf("%s --mode validate: %w: %.300s", filepath.Base(program), err, said)
}
