//go:build !unix

package debian

import (
	"context"
	"errors"
	"fmt"
)

func apt(context.Context, []string, bool, func()) (said string, err error) {
	return "", fmt.Errorf("apt-get: %w here", errors.ErrUnsupported)
}
