package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// state is what the lab notes of a cluster before it begins to create it, since
// Docker does not tell it.
type state struct {
	// Network is whether there was no network of kind before.
	Network bool `json:"network"`
	// Audit is whether the API server was told to keep an audit log.
	Audit bool `json:"audit"`
}

func (o Options) state() string    { return o.Kubeconfig + ".state" }
func (o Options) auditDir() string { return o.Kubeconfig + ".audit" }

// begun tells whether the lab began the cluster, and whether it was cut off.
func (o Options) begun() (begun, cut bool) {
	_, state := os.Stat(o.state())
	_, complete := os.Stat(o.Kubeconfig)
	return state == nil || complete == nil, state == nil && complete != nil
}

func (o Options) load() (s state, err error) {
	content, err := os.ReadFile(o.state())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return s, fmt.Errorf("kind: %s: %w: remove it", o.state(), err)
	}
	return s, nil
}

// note writes the files that a creation needs, and first the state, by which a
// later lab knows of the creation.
func (o Options) note(ctx context.Context, e engine, d daemon) error {
	s := state{Network: !e.hasNetwork(ctx), Audit: d.local}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.state()), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(o.state(), content, 0o600); err != nil || !s.Audit {
		return err
	}
	if err := os.MkdirAll(o.auditDir(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.auditDir(), policyFile), []byte(cluster.AuditPolicy), 0o644)
}

// pull gets the image unless Docker has it. A registry that was busy once is asked
// again.
func (e engine) pull(ctx context.Context, image string, detail func(string)) (err error) {
	if _, err := e.run(ctx, "image", "inspect", "--format={{.Id}}", image); err == nil {
		return nil
	}
	for range 2 {
		var layers, done int
		_, err = e.docker(ctx, func(line string) {
			switch {
			case strings.HasSuffix(line, ": Pulling fs layer"):
				layers++
			case strings.HasSuffix(line, ": Pull complete"), strings.HasSuffix(line, ": Already exists"):
				done++
			default:
				return
			}
			detail(fmt.Sprintf("%d of %d layers of %s", done, max(layers, done), image))
		}, "pull", image)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := poll.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s: %w", ErrPull, image, err)
}

// creation is a run of kind's library.
type creation struct {
	ended chan struct{}
	err   *error // once ended is closed
}

// wait returns when the library has returned or when the context ends. The library
// may still work then.
func (c creation) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		if cause := context.Cause(ctx); cause != nil && *c.err != nil {
			return cause // the interrupt ended its commands, too
		}
		return *c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts the creation. Kind keeps the nodes of one that fails, for their
// logs.
func (e engine) begin(ctx context.Context, o Options, detail func(string)) (creation, error) {
	none := creation{ended: make(chan struct{})}
	close(none.ended)
	daemon, err := e.daemon(ctx)
	if err != nil {
		return none, err
	}
	if err := o.note(ctx, e, daemon); err != nil {
		return none, err
	}
	detail("asking the image for its version")
	kubernetes, err := e.version(ctx, o)
	if err != nil {
		return none, err
	}
	logger, err := newLogger(o.Logs, detail)
	if err != nil {
		return none, err
	}
	started := creation{ended: make(chan struct{}), err: new(error)}
	go func() {
		defer close(started.ended)
		defer logger.close()
		*started.err = said(e.library(logger).Create(o.Name,
			kindcluster.CreateWithV1Alpha4Config(o.config(kubernetes, daemon)),
			kindcluster.CreateWithKubeconfigPath(o.unfinished()), kindcluster.CreateWithRetain(true), kindcluster.CreateWithWaitForReady(0),
			kindcluster.CreateWithDisplayUsage(false), kindcluster.CreateWithDisplaySalutation(false)))
	}()
	return started, nil
}

// daemon is what a cluster's configuration depends on.
type daemon struct {
	cgroupV1 bool
	local    bool // it sees this machine's files
}

func (e engine) daemon(ctx context.Context) (d daemon, err error) {
	cgroups, err := e.run(ctx, "info", "--format={{.CgroupVersion}}")
	if err != nil {
		return d, err
	}
	at, err := e.run(ctx, "context", "inspect", "--format={{.Endpoints.docker.Host}}")
	if err != nil {
		return d, err
	}
	at = strings.TrimSpace(at)
	return daemon{
		cgroupV1: strings.TrimSpace(cgroups) == "1",
		local:    strings.HasPrefix(at, "unix:") || strings.HasPrefix(at, "npipe:"),
	}, nil
}

// version asks the image for its Kubernetes. The container has kind's label, so
// that an interrupt does not leave it.
func (e engine) version(ctx context.Context, o Options) (*version.Version, error) {
	out, err := e.run(ctx, "run", "--rm", "--network=none", "--label="+clusterLabel+"="+o.Name, "--entrypoint=cat", o.image(), "/kind/version")
	if err != nil {
		return nil, fmt.Errorf("%s is no kind node image that runs here: %w", o.image(), err)
	}
	v, err := version.ParseGeneric(strings.TrimSpace(out))
	if err != nil {
		return nil, fmt.Errorf("%s has /kind/version %q: %w", o.image(), oneLine(out), err)
	}
	return v, nil
}

// said adds to an error of the library why the program that it ran failed.
func said(err error) error {
	run := kindexec.RunErrorForError(err)
	if run == nil {
		return err
	}
	if why := reason(string(run.Output)); why != "" {
		return fmt.Errorf("%w: %s", shortened{err}, why)
	}
	return shortened{err}
}

// shortened is an error without the hundreds of characters of the command in it.
type shortened struct{ error }

func (s shortened) Unwrap() error { return s.error }

func (s shortened) Error() string {
	text := s.error.Error()
	if before, rest, found := strings.Cut(text, `command "`); found {
		if at := strings.LastIndex(rest, `" failed with error: `); at >= 0 {
			command := strings.Fields(rest[:at])
			return before + strings.Join(command[:min(2, len(command))], " ") + rest[at+1:]
		}
	}
	return text
}
