// Package flagenv lets environment variables stand in for flags. An overlay of Kustomize
// merges variables by name, but replaces a container's arguments as a whole.
package flagenv

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Name returns the variable of a flag: that of health-port is HEALTH_PORT.
func Name(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// Apply sets each of the flags that the command line lacks to its variable, if that is
// not empty. The error names the variable and its value.
func Apply(fs *pflag.FlagSet, getenv func(string) string, flags ...string) error {
	for _, flag := range flags {
		value := getenv(Name(flag))
		if value == "" || fs.Changed(flag) {
			continue
		}
		if err := fs.Set(flag, value); err != nil {
			return fmt.Errorf("%s=%q: %w", Name(flag), value, err)
		}
	}
	return nil
}
