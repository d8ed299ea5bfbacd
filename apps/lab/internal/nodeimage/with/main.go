//go:build linux

// Command with runs a command that needs Docker and a kind node image, and tells
// it the image's name by LAB_NODE_IMAGE. It takes the Docker that answers, and else
// runs one of its own, that ends with the command; in the same way it takes kind's
// own image, and else makes one. Where the machine can do neither it says so, and
// that is no failure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/nodeimage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// How this program is started again, by its first argument.
const (
	asFirst  = "first-process"
	asServer = "server"
	asRunC   = "runc"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: with COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	runtime.LockOSThread() // a child would end with the thread that started it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(1, failed.ExitCode()))
	}
	fmt.Fprintln(os.Stderr, "with:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	switch args[0] {
	case asFirst:
		return first(args[1:])
	case asServer:
		return serve(ctx, args[1:])
	case asRunC:
		return nodeimage.RunC(args[1], args[2:])
	}
	if kind.IsAvailable(ctx) == nil && pulls(ctx) {
		return command(ctx, defaults.Image, args)
	}
	err := own(ctx, args)
	if errors.Is(err, nodeimage.ErrMachine) {
		fmt.Println("kind: not run:", err)
		return nil
	}
	return err
}

// pulls tells whether the Docker that answers has or gets kind's own image.
func pulls(ctx context.Context) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", defaults.Image).Run() == nil ||
		exec.CommandContext(ctx, "docker", "pull", "--quiet", defaults.Image).Run() == nil
}

func command(ctx context.Context, image string, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "LAB_NODE_IMAGE="+image)
	return cmd.Run()
}

// own makes the image, and the daemon where none answers.
func own(ctx context.Context, args []string) (err error) {
	detail := func(text string) { fmt.Fprintln(os.Stderr, "with:", text) }
	repository, err := manifest.Find(".")
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "grpc-lb")
	image, err := nodeimage.Build(ctx, nodeimage.Config{Root: repository.Root(), Cache: cache, Detail: quietly(detail)})
	if err != nil {
		return err
	}
	if kind.IsAvailable(ctx) == nil {
		if err := nodeimage.Load(ctx, image); err != nil {
			return err
		}
		return command(ctx, image.Ref, args)
	}
	programs, err := nodeimage.FetchPrograms(ctx, cache, detail)
	if err != nil {
		return err
	}
	return contained(ctx, cache, programs, image, args)
}

// inside is the input of the process in the namespaces.
type inside struct {
	Daemon  nodeimage.Daemon
	Image   nodeimage.Image
	Command []string
}

// contained runs the daemon and the command in namespaces of their own and then
// removes what lies outside of them.
func contained(ctx context.Context, cache string, programs nodeimage.Programs, image nodeimage.Image, args []string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Join(cache, "kind"), "daemon-")
	if err != nil {
		return err
	}
	d := nodeimage.Daemon{Programs: programs, Dir: dir, Wrapper: []string{self, asRunC}, Cgroup: "grpc-lb-" + filepath.Base(dir)}
	restore := nodeimage.KeepKernel()
	defer func() { err = errors.Join(err, restore(), d.RemoveCgroup(), os.RemoveAll(dir)) }()
	told, err := json.Marshal(inside{d, image, args})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, asFirst, string(told))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = nodeimage.Namespaces()
	err = cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// first is the namespaces' first process: it collects what others leave to it, and
// everything ends with it.
func first(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server, err := os.StartProcess(self, append([]string{self, asServer}, args...), &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case pid == server.Pid && status.Exited():
			os.Exit(status.ExitStatus())
		case pid == server.Pid:
			return fmt.Errorf("the server ended by %s", status.Signal())
		case err != nil && !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}

func serve(ctx context.Context, args []string) error {
	var told inside
	if err := json.Unmarshal([]byte(args[0]), &told); err != nil {
		return err
	}
	return told.Daemon.Serve(ctx, told.Image, told.Command...)
}

// quietly tells the same kind of detail once in ten seconds.
func quietly(detail func(string)) func(string) {
	var last time.Time
	var what string
	return func(text string) {
		begins, _, _ := strings.Cut(text, ":")
		if begins != what || time.Since(last) > 10*time.Second {
			last, what = time.Now(), begins
			detail(text)
		}
	}
}
