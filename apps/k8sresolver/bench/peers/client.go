package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// clientOf returns where the least client of a subject is built.
func clientOf(p peer, dir string) string { return filepath.Join(dir, "client-"+p.Name) }

// buildClient builds the least client of a subject, stripped.
func buildClient(ctx context.Context, p peer, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", clientOf(p, dir), p.client)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("peers: building a client of %s: %w: %s", p.Name, err, out)
	}
	return nil
}

// least measures the least client, which makes one call to a pod.
func least(r *rig) error {
	if r.notes[clientSize] != "" {
		return nil // it could not be built
	}
	program := clientOf(r.peer, r.dir)
	file, err := os.Stat(program)
	if err != nil {
		return err
	}
	r.add(clientSize, float64(file.Size())/(1<<20))
	p := &pods{}
	defer p.stop()
	if err := p.start(1); err != nil {
		return err
	}
	r.api.Set(p.slice())
	for range 3 {
		var m Memory
		if err := r.call("Run", Client{Program: program, Port: fmt.Sprint(p.port)}, &m); err != nil {
			return err
		}
		r.add(clientResident, m.Resident*1024/1e6)
		r.add(clientAnonymous, m.Anonymous*1024/1e6)
	}
	return nil
}

// Client is a program that makes one call.
type Client struct{ Program, Port string }

// Memory is that of a process, in KiB.
type Memory struct{ Resident, Anonymous float64 }

// Run runs a client beside this process, whose files and whose DNS server it uses.
func (m *Measured) Run(c Client, memory *Memory) error {
	ca := filepath.Join(os.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, m.api.CA, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Program, m.program.Target(measuredService, m.api.Namespace, c.Port), m.api.URL, ca)
	cmd.SysProcAttr = attributes(false)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return errors.New(crash(stderr.Bytes(), fmt.Errorf("%w: %s", err, &stderr)))
	}
	_, err = fmt.Sscan(string(stdout), &memory.Resident, &memory.Anonymous)
	return err
}
