package sudo

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kept are variables beside PATH and HOME that a build needs as the user set them.
var kept = []string{
	"XDG_CACHE_HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOTOOLCHAIN",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "DOCKER_HOST", "KUBECONFIG",
}

// plain are words that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Line returns the command that runs this program as it was run, with sudo. sudo has
// a PATH and a HOME of its own, in which there is neither go nor what was built.
func Line() string { return line(command(parent(), os.Args), "$HOME", set) }

// LineAt is Line with another user's home.
func LineAt(home string) string {
	return line(command(parent(), os.Args), home, func(name string) bool { return name != "XDG_CACHE_HOME" && set(name) })
}

func set(name string) bool {
	_, set := os.LookupEnv(name)
	return set
}

func line(args []string, home string, set func(string) bool) string {
	words := []string{"sudo", "env", `"PATH=$PATH"`, `"HOME=` + home + `"`}
	for _, name := range kept {
		if set(name) {
			words = append(words, fmt.Sprintf(`"%[1]s=$%[1]s"`, name))
		}
	}
	for _, a := range args {
		if !plain.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// command is what the user typed: `go run` where that is the parent of this program.
func command(parent, args []string) []string {
	if len(parent) > 0 && filepath.Base(parent[0]) == "go" && slices.Contains(parent, "run") {
		return append([]string{"go"}, parent[1:]...)
	}
	return args
}

// parent returns the command of this program's parent, if that can be read.
func parent() []string {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", os.Getppid()))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
}
