// Package fault breaks the network of nodes by rules of the kernel, which one process
// in each node holds: nft, whose standard input is a pipe of this program. When the pipe
// is closed, as the kernel does when this program ends, nft ends, and when nft ends,
// also when it is killed, the kernel removes the rules that it owns.
package fault

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// answerTime is how long nft may take: it works for milliseconds.
const answerTime = 15 * time.Second

// table is the name of the table of rules. Several can hold one each: a process owns
// its table, and a name is looked up among all.
const table = "lab-fault"

// Node is a node that rules can be put into.
type Node struct {
	cluster.NodeStatus
	// Command returns a command that runs in the node with a standard input.
	Command func(args ...string) *exec.Cmd
}

// Possible says why a cluster that the lab booted cannot have such faults.
func Possible(kind cluster.FaultKind, s cluster.Status) error {
	if kind == cluster.LinkDown && len(s.Workers()) == 0 {
		return fmt.Errorf("this cluster has no node beside that of the control plane: boot one with --nodes 2: %w", errors.ErrUnsupported)
	}
	return nil
}

// Break implements the method of [cluster.Cluster] for these nodes.
func Break(ctx context.Context, f cluster.Fault, n Network, nodes []Node) (mend func(context.Context) error, err error) {
	if f.Kind == cluster.LinkDown {
		if nodes, err = worker(f.Node, nodes); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("%s-%d", table, time.Now().UnixNano())
	text, err := rules(f.Kind, n, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	holders := make([]*holder, len(nodes))
	var group errgroup.Group
	for i, node := range nodes {
		group.Go(func() (err error) {
			if holders[i], err = hold(ctx, node, name, text); err != nil {
				return fmt.Errorf("fault: %s: on %s: %w", f.Kind, node.Name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	holders = slices.DeleteFunc(holders, func(h *holder) bool { return h == nil })
	mend = func(ctx context.Context) error {
		var errs []error
		for _, h := range holders { // all at once
			h.let()
		}
		for _, h := range holders {
			errs = append(errs, h.wait(ctx))
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return nil, errors.Join(err, mend(context.WithoutCancel(ctx)))
	}
	return mend, nil
}

// worker returns the one node of that name.
func worker(name string, nodes []Node) ([]Node, error) {
	var workers []string
	for _, n := range nodes {
		switch {
		case n.ControlPlane:
		case n.Name == name:
			return []Node{n}, nil
		default:
			workers = append(workers, n.Name)
		}
	}
	return nil, fmt.Errorf("fault: node %q is no worker: expected one of %q", name, workers)
}

// holder is an nft that owns rules in a node.
type holder struct {
	node  string
	let   func()        // ends it
	ended chan struct{} // closed when it has ended
	early error         // why it ended before it should; once ended is closed
}

// hold returns when the rules are in force.
func hold(ctx context.Context, n Node, name, text string) (*holder, error) {
	cmd := n.Command("nft", "--interactive")
	ownSession(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &holder{node: n.Name, ended: make(chan struct{})}
	asked := make(chan struct{})
	h.let = sync.OnceFunc(func() {
		close(asked)
		_ = stdin.Close()
	})
	said := make(chan error, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		said <- inForce(out)
		_, _ = io.Copy(io.Discard, out)
	}()
	go func() {
		defer close(h.ended)
		err := cmd.Wait()
		_ = in.Close()
		<-read
		select {
		case <-asked:
			if err == nil { // at the end of its input
				return
			}
		default:
		}
		h.early = fmt.Errorf("fault: nft on %s: %w", n.Name, errors.Join(cluster.ErrEnded, err))
	}()
	// Its answer to the last command tells that it has heeded all. Where it does not read,
	// it says why.
	_, _ = io.WriteString(stdin, text+"list chain inet "+name+" in\n")
	select {
	case err = <-said:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		h.let()
		return nil, errors.Join(err, h.wait(context.WithoutCancel(ctx)))
	}
	return h, nil
}

// wait returns when the rules are gone.
func (h *holder) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	select {
	case <-h.ended:
		return h.early
	case <-ctx.Done():
		return fmt.Errorf("fault: its process on %s does not end: %w", h.node, context.Cause(ctx))
	}
}

// inForce reads until nft lists the chain, or until what it says is something else.
func inForce(out io.Reader) error {
	var said bytes.Buffer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "chain in {" {
			return nil
		}
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "Error") {
			return errors.New(strings.TrimSpace(said.String()))
		}
	}
	return fmt.Errorf("nft ended: %s: it must be in the node, with a kernel and itself that know the flag owner (Linux 5.12)", strings.TrimSpace(said.String()))
}
