//go:build linux

package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

// natRules are what kube-proxy and the pods' network ask of the kernel.
const natRules = `table ip lab {
	chain services {
		type nat hook prerouting priority dstnat
		fib daddr type local ct state new numgen random mod 2 vmap { 0 : accept, 1 : accept }
	}
	chain pods {
		type nat hook postrouting priority srcnat
		masquerade
	}
}
`

// try makes what the cluster is made of, without the cluster, and removes it: cgroups,
// and two nodes with a network.
func try(ctx context.Context, d Dirs) error {
	group := d.cgroup() + "-try"
	err := makeCgroup(cgroupRoot, filepath.Join(group, "node"))
	err = errors.Join(err, removeCgroup(cgroupRoot, group))
	if err == nil {
		err = tryNodes(ctx, d)
	}
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: root has too few rights here: if this is a container, start it with --privileged", err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w: another program manages these cgroups: run the lab outside of its container", err)
	}
	return err
}

func tryNodes(ctx context.Context, d Dirs) (err error) {
	dir, err := os.MkdirTemp(d.Cluster, "try-")
	if err != nil {
		return err
	}
	var nodes []*node.Node
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.Kill(context.WithoutCancel(ctx)))
			for range n.Events() { // until it has ended
			}
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	var pids []int
	for i := range 2 {
		n, err := startTry(dir, nodeName(i))
		if err != nil {
			return err
		}
		nodes, pids = append(nodes, n), append(pids, n.Pid)
	}
	if err := connect(pids); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := n.Boot(); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	for _, n := range nodes {
		if err := tried(ctx, n, dir); err != nil {
			return err
		}
	}
	return nil
}

func startTry(dir, name string) (*node.Node, error) {
	root, logs := filepath.Join(dir, name), filepath.Join(dir, name+"-logs")
	for _, d := range []string{root, logs} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(logs, "node.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return node.Start(node.Spec{
		Name: name, Dir: root, LogDir: logDir, Path: "/usr/sbin:/usr/bin:/sbin:/bin",
		Binds: map[string]string{logDir: logs}, Data: []string{"/var/lib/kubelet"},
		Files: map[string]string{"/etc/lab/rules.nft": natRules}, Shadowed: shadowed, Sysctls: sysctls,
		Processes: []node.Process{{Name: "nft", Once: true, Args: []string{"nft", "-f", "/etc/lab/rules.nft"}}},
	}, node.Options{Log: log})
}

// tried waits until the node has done its one thing.
func tried(ctx context.Context, n *node.Node, dir string) error {
	for {
		log := "nft.log"
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, running := <-n.Events():
			switch {
			case running && e.State == node.Done:
				return nil
			case running && e.State == node.Started:
				continue
			case !running:
				log = "node.log"
			}
		}
		said, _ := os.ReadFile(filepath.Join(dir, n.Name+"-logs", log))
		return fmt.Errorf("a node cannot run here: its kernel or this container refuses:\n%s", lastLines(said, 3))
	}
}
