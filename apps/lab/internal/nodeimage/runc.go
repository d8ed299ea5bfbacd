//go:build linux

package nodeimage

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// resources is the capability that a machine without a lower OOM score lacks.
const (
	resources    = "CAP_SYS_RESOURCE"
	resourcesBit = 24
)

// lacksResources reads from /proc/self/status whether no process here can have
// the capability.
func lacksResources(status string) bool {
	for line := range strings.Lines(status) {
		var bounding uint64
		if n, _ := fmt.Sscanf(line, "CapBnd: %x", &bounding); n == 1 {
			return bounding&(1<<resourcesBit) == 0
		}
	}
	return false
}

// RunC becomes runc, which fails where a privileged container asks for a
// capability that the machine lacks: it is dropped from what the arguments name.
func RunC(runc string, args []string) error {
	for i, arg := range args[:max(0, len(args)-1)] {
		var err error
		switch arg {
		case "--bundle", "-b":
			err = edit(filepath.Join(args[i+1], "config.json"), "process")
		case "--process", "-p":
			err = edit(args[i+1])
		}
		if err != nil {
			return fmt.Errorf("nodeimage: %w", err)
		}
	}
	return syscall.Exec(runc, append([]string{runc}, args...), os.Environ())
}

// edit drops the capability from the process that lies below those keys.
func edit(file string, keys ...string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	content, err = dropResources(content, keys...)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, content, 0o600)
}

// dropResources edits generic JSON, since a newer runc may know more fields.
func dropResources(content []byte, keys ...string) ([]byte, error) {
	var all map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.UseNumber()
	if err := decoder.Decode(&all); err != nil {
		return nil, err
	}
	process := all
	for _, key := range keys {
		process, _ = process[key].(map[string]any)
	}
	capabilities, _ := process["capabilities"].(map[string]any)
	for set, value := range capabilities {
		if list, ok := value.([]any); ok {
			capabilities[set] = slices.DeleteFunc(list, func(name any) bool { return name == resources })
		}
	}
	return json.Marshal(all)
}
