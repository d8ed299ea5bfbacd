//go:build !linux

package main

import (
	"errors"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

func attributes(bool) *syscall.SysProcAttr { return nil }

func pretendPod(conformance.API) error {
	return errors.New("peers: a pod's files can be put in place on Linux only")
}
