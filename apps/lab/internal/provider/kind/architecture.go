package kind

import (
	"context"
	"fmt"
	"strings"
)

// Architecture returns that of the nodes, such as arm64: Docker's, which need not be
// that of this program.
func Architecture(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	arch, err := docker(ctx, "version", "--format={{.Server.Arch}}")
	if err != nil {
		return "", fmt.Errorf("kind: asking Docker for its architecture: %w", err)
	}
	return strings.TrimSpace(arch), nil
}
