//go:build linux

package builtin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/types"
)

// CanKill implements cluster.Cluster.
func (c *Cluster) CanKill() error { return nil }

// Kill implements cluster.Cluster. The nodes' processes are the host's, too.
func (c *Cluster) Kill(_ context.Context, pod types.UID, container string) error {
	k, err := findCounters(cgroupRoot)
	if err != nil {
		return err
	}
	var nodes []string
	for _, n := range c.state.Nodes {
		nodes = append(nodes, c.dirs.cgroup(n.Name))
	}
	group, _, err := findPod(k.memory, nodes, pod)
	if err != nil {
		return fmt.Errorf("builtin: finding pod %s: %w", pod, err)
	}
	if group == "" {
		return fmt.Errorf("builtin: no node has a pod %s", pod)
	}
	pids, err := os.ReadFile(filepath.Join(k.memory, group, container, "cgroup.procs"))
	if err != nil {
		return fmt.Errorf("builtin: container %s of pod %s: %w", container, pod, err)
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 1 {
			return fmt.Errorf("builtin: %q is no process of a container", pid)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			return fmt.Errorf("builtin: killing process %d: %w", n, err)
		}
	}
	return nil
}
