package kind

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Architecture returns that of the nodes, such as arm64: Docker's, which need not be
// that of this program.
func Architecture(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "version", "--format={{.Server.Arch}}").Output()
	if err != nil {
		return "", fmt.Errorf("kind: asking Docker for its architecture: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
