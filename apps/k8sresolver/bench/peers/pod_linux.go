package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// attributes makes a process end with this one, and gives it mounts of its own, also
// without root.
func attributes(ownMounts bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if !ownMounts {
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWNS
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// pretendPod gives this process the files and variables of a pod: resolvers look for
// them under names that are compiled in. The process has mounts of its own.
func pretendPod(api conformance.API) error {
	at, err := url.Parse(api.URL)
	if err != nil {
		return err
	}
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("peers: keeping mounts private: %w", err)
	}
	if err := syscall.Mount("pod", run, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("peers: mounting a pod's files: %w", err)
	}
	if err := os.MkdirAll(serviceAccount, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(api.TokenFile, filepath.Join(serviceAccount, "token")); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": api.CA, "namespace": []byte(api.Namespace)} {
		if err := os.WriteFile(filepath.Join(serviceAccount, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Setenv("KUBERNETES_SERVICE_HOST", at.Hostname()); err != nil {
		return err
	}
	return os.Setenv("KUBERNETES_SERVICE_PORT", at.Port())
}
