package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// caseTime is what one case may take before it counts as hung.
const caseTime = 45 * time.Second

// runCases runs each case in a process of its own, so that a panic or a deadlock costs
// one case. The subjects take turns.
func runCases(ctx context.Context, o options, chosen []peer, dir string) ([]report.Case, error) {
	var cp *controlplane.ControlPlane
	var missing error
	if slices.ContainsFunc(conformance.Cases(), func(c conformance.Case) bool { return c.Real && o.only.MatchString(c.String()) }) {
		var err error
		if cp, missing, err = startControlPlane(ctx, dir); err != nil {
			return nil, err
		}
	}
	if cp != nil {
		defer cp.Stop()
	}
	var mu sync.Mutex
	var all []report.Case
	var group errgroup.Group
	group.SetLimit(o.parallel)
	for _, c := range conformance.Cases() {
		name := c.String()
		results := make(map[string]string)
		all = append(all, report.Case{Name: name, Want: c.Want, Results: results})
		if !o.only.MatchString(name) {
			continue
		}
		for _, p := range chosen {
			group.Go(func() error {
				result := runCase(ctx, c, p, cp, missing, dir)
				mu.Lock()
				defer mu.Unlock()
				results[p.Name] = result
				return ctx.Err()
			})
		}
	}
	return all, group.Wait()
}

// startControlPlane returns nil and the reason where the programs are missing.
func startControlPlane(ctx context.Context, dir string) (*controlplane.ControlPlane, error, error) {
	programs, missing := controlplane.Find()
	if missing != nil {
		return nil, missing, nil
	}
	own := filepath.Join(dir, "controlplane")
	if err := os.Mkdir(own, 0o755); err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cp, err := controlplane.Start(limited, programs, own)
	if err != nil {
		cp.Stop()
		return nil, nil, err
	}
	return cp, nil, nil
}

func runCase(ctx context.Context, c conformance.Case, p peer, cp *controlplane.ControlPlane, missing error, dir string) string {
	switch {
	case ctx.Err() != nil:
		return "not run: interrupted"
	case c.Real && missing != nil:
		return "not run: " + missing.Error()
	case c.Real && p.pods:
		return "not run: it follows pods, and the real API server here has none"
	}
	limited, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	stdout, stderr, err := start(limited, p, dir, job{Peer: p.Name, Case: c.String(), ControlPlane: cp}).output()
	var failures []string
	switch {
	case limited.Err() != nil:
		return fmt.Sprintf("failed: it has not ended within %v", caseTime)
	case err != nil:
		return "failed: " + crash(stderr, err)
	case json.Unmarshal(stdout, &failures) != nil:
		return fmt.Sprintf("failed: the process said %q", stdout)
	case len(failures) > 0:
		return "failed: " + report.Cut(failures[0], 200) // where thousands of endpoints are listed
	}
	return report.Passed
}

// crash returns what a process that died has said last that matters.
func crash(stderr []byte, err error) string {
	for line := range strings.Lines(string(stderr)) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return strings.TrimSpace(line)
		}
	}
	return err.Error()
}

// jobVariable carries what a process of this program is to do for another one.
const jobVariable = "PEERS_JOB"

// job is a case to run, or, without one, a subject to measure.
type job struct {
	Peer         string
	Case         string
	ControlPlane *controlplane.ControlPlane
	API          conformance.API
}

// process is this program, started for a job.
type process struct {
	*exec.Cmd
	err error // of its preparation
}

func start(ctx context.Context, p peer, dir string, j job) process {
	description, err := json.Marshal(j)
	if err != nil {
		return process{err: err}
	}
	self, err := os.Executable()
	if err != nil {
		return process{err: err}
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(description), "TMPDIR="+dir)
	cmd.SysProcAttr = attributes(p.inCluster)
	cmd.WaitDelay = time.Second
	return process{Cmd: cmd}
}

func (p process) output() (stdout, stderr []byte, err error) {
	if p.err != nil {
		return nil, nil, p.err
	}
	var out, errs bytes.Buffer
	p.Stdout, p.Stderr = &out, &errs
	err = p.Run()
	return out.Bytes(), errs.Bytes(), err
}

// work does a job, and returns the exit code of its process.
func work(description string) int {
	var j job
	stop, err := conformance.SetEnvironment()
	if err == nil {
		defer stop()
		err = json.Unmarshal([]byte(description), &j)
	}
	if err == nil && j.Case == "" {
		err = serve(j)
	} else if err == nil {
		err = workCase(j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

func workCase(j job) error {
	p, ok := find(j.Peer)
	if !ok {
		return fmt.Errorf("peers: no resolver is named %q", j.Peer)
	}
	for _, c := range conformance.Cases() {
		if c.String() == j.Case {
			failures, _ := c.Check(context.Background(), p.Subject, j.ControlPlane)
			return json.NewEncoder(os.Stdout).Encode(append([]string{}, failures...))
		}
	}
	return errors.New("peers: no case is named " + j.Case)
}

func find(name string) (peer, bool) {
	for _, p := range peers() {
		if p.Name == name {
			return p, true
		}
	}
	return peer{}, false
}
