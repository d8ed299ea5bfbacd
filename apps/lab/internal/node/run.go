//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// runMain starts the node's processes and reports what happens to them.
func runMain() error {
	data, err := os.ReadFile(specFile)
	if err != nil {
		return err
	}
	var spec Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	events := &eventWriter{w: json.NewEncoder(os.NewFile(3, "events"))}
	var wg sync.WaitGroup
	if spec.Forward != "" {
		ln, err := net.FileListener(os.NewFile(4, "listener"))
		if err != nil {
			return fmt.Errorf("node: no listener came from the parent: %w", err)
		}
		wg.Go(func() { forward(ln, spec.Forward) })
	}
	for _, p := range spec.Processes {
		wg.Go(func() {
			if err := supervise(p, spec.LogDir, events); err != nil {
				events.send(Event{Process: p.Name, State: Failed, Error: err.Error()})
			}
		})
	}
	wg.Wait()
	select {} // the node lives until it is killed
}

func supervise(p Process, logDir string, events *eventWriter) error {
	for _, path := range p.After {
		for _, err := os.Stat(path); errors.Is(err, os.ErrNotExist); _, err = os.Stat(path) {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the directory that inotify would watch may not exist yet
		}
	}
	log, err := os.Create(filepath.Join(logDir, p.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	events.send(Event{Process: p.Name, State: Started})
	if err := cmd.Wait(); err != nil {
		return err
	}
	if !p.Once {
		return errors.New("it ended")
	}
	if p.Done != "" {
		if err := os.WriteFile(p.Done, nil, 0o644); err != nil {
			return err
		}
	}
	events.send(Event{Process: p.Name, State: Done})
	return nil
}

// forward joins each connection that ln accepts, a socket of the host, to an
// address of the node.
func forward(ln net.Listener, address string) {
	for {
		host, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer host.Close()
			inside, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer inside.Close()
			go func() {
				_, _ = io.Copy(inside, host)
				_ = inside.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(host, inside)
		}()
	}
}

// eventWriter writes events; the parent may be gone.
type eventWriter struct {
	mu sync.Mutex
	w  *json.Encoder
}

func (e *eventWriter) send(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.w.Encode(event)
}
