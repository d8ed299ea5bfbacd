//go:build linux

package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// Options say which cluster is wanted.
type Options struct {
	Builder component.Builder
	Dirs    Dirs
	Nodes   int
	APIPort int // 0 takes a free one
	// Patience stretches the limits in time; 0 means by how slow this machine is.
	Patience float64
	// Builds are components that will be built later: they need space too.
	Builds []component.Component
	// Detached clusters outlive the program; others end with it, however it ends.
	Detached bool
	Progress progress.Reporter
}

// bootTime is what each step may take on a machine five times slower than the
// usual one.
const bootTime = 5 * time.Minute

// limit is what each step may take on this machine.
func (o Options) limit() time.Duration { return time.Duration(o.Patience * float64(bootTime)) }

// Steps returns how many steps [Up] reports.
func Steps() int { return 1 + len(component.Cluster) + 5 }

// Up builds what is missing, boots the cluster and waits until it is ready.
// When it fails it leaves nothing. The caller holds the lock.
func Up(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("builtin: %d nodes: expected 1 to %d", o.Nodes, maxNodes)
	}
	if o.Patience < 0 || o.Patience > MaxPatience || o.Patience > 0 && o.Patience < 1 {
		return nil, fmt.Errorf("builtin: patience %g: expected 1 to %d, or 0 for a measurement", o.Patience, MaxPatience)
	}
	if o.Patience == 0 {
		if o.Patience, err = measure(); err != nil {
			return nil, err
		}
	}
	b := o.Builder
	if err := o.check(ctx, b); err != nil {
		return nil, err
	}
	programs, versions, err := b.BuildAll(ctx, component.Cluster, o.step)
	if err != nil {
		return nil, err
	}
	if err := Down(ctx, o.Dirs); err != nil {
		return nil, fmt.Errorf("builtin: what an earlier cluster left: %w", err)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, Down(ctx, o.Dirs))
			fail(err)
		}
	}()
	if err := startJanitor(o.Dirs); err != nil {
		return nil, err
	}
	c := &Cluster{dirs: o.Dirs, state: state{Detached: o.Detached, Versions: versions}}
	nodes, err := o.startNodes(ctx, fail, c, programs)
	if err != nil {
		return nil, err
	}
	if err := o.boot(ctx, c, nodes, programs); err != nil {
		return nil, err
	}
	if o.Detached {
		for _, w := range nodes {
			if err := w.Detach(); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
		}
	}
	c.state.Ready = true
	return c, o.Dirs.save(c.state)
}

// step runs f as one reported step with a deadline.
func (o Options) step(ctx context.Context, name string, limit time.Duration, f func(context.Context, func(string)) error) error {
	return progress.Run(ctx, o.Progress, name, limit, f)
}

// check finds what keeps the cluster from running before anything is built.
func (o Options) check(ctx context.Context, b component.Builder) error {
	if err := CheckUser(); err != nil {
		return err
	}
	if lacks := debian.Missing(needed); len(lacks) > 0 && debian.Here() {
		err := o.step(ctx, "install "+strings.Join(lacks, ", "), debian.Time, func(ctx context.Context, detail func(string)) error {
			return debian.Install(ctx, needed, detail)
		})
		if err != nil {
			return err
		}
	}
	return o.step(ctx, "check the machine", o.limit(), func(ctx context.Context, detail func(string)) error {
		return preflight(ctx, o.Dirs, b, slices.Concat(component.Cluster, o.Builds), detail)
	})
}

// startNodes starts the nodes' first processes and connects their networks.
func (o Options) startNodes(ctx context.Context, fail context.CancelCauseFunc, c *Cluster, programs map[string]string) (nodes []*watched, err error) {
	err = o.step(ctx, fmt.Sprintf("start %d nodes", o.Nodes), o.limit(), func(context.Context, func(string)) error {
		api, err := listen(o.APIPort)
		if err != nil {
			return err
		}
		defer api.Close() // the node has a copy
		c.state.API = "https://" + api.Addr().String()
		var pids []int
		for i := range o.Nodes {
			spec, err := nodeSpec(o, i, programs, c.state.Versions)
			if err != nil {
				return err
			}
			var opts node.Options
			if i == 0 {
				opts.Listener = api
			}
			w, err := o.startNode(spec, opts)
			if err != nil {
				return err
			}
			nodes, pids = append(nodes, w), append(pids, w.Pid)
			c.state.Nodes = append(c.state.Nodes, *w.Node)
			// From here on a lab that comes later can end the node.
			if err := o.Dirs.save(c.state); err != nil {
				return err
			}
			go w.follow(o.Dirs, fail)
		}
		if err := connect(pids); err != nil {
			return err
		}
		for _, w := range nodes {
			if err := w.Boot(); err != nil {
				return fmt.Errorf("%s: %w", w.Name, err)
			}
		}
		return nil
	})
	return nodes, err
}

func (o Options) startNode(spec node.Spec, opts node.Options) (*watched, error) {
	if err := makeCgroup(cgroupRoot, o.Dirs.cgroup(spec.Name)); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(o.Dirs.logs(spec.Name)); err != nil {
		return nil, err
	}
	for _, dir := range []string{spec.Dir, o.Dirs.logs(spec.Name)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(o.Dirs.log(spec.Name, "node"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	opts.Log = log
	n, err := node.Start(spec, opts)
	if err != nil {
		return nil, err
	}
	return &watched{Node: n, states: map[string]node.State{}, changed: make(chan struct{})}, nil
}

// boot brings the control plane up in the first node while the others prepare.
func (o Options) boot(ctx context.Context, c *Cluster, nodes []*watched, programs map[string]string) error {
	err := o.step(ctx, "load the system's images", o.limit(), func(ctx context.Context, detail func(string)) error {
		detail("packing them")
		archive, err := o.systemImages(programs, c.state.Versions)
		if err != nil {
			return err
		}
		detail("loading them")
		g, ctx := errgroup.WithContext(ctx)
		for _, w := range nodes {
			g.Go(func() error {
				if err := waitFile(ctx, w.Path(containerdSock)); err != nil {
					return err
				}
				if err := importImages(ctx, w.Node, archive); err != nil {
					return err
				}
				return w.WriteFile(imagesLoaded, nil)
			})
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	err = o.step(ctx, "start the control plane", o.limit(), func(ctx context.Context, _ func(string)) error {
		return nodes[0].wait(ctx, "kubeadm", node.Done)
	})
	if err != nil {
		return err
	}
	admin, err := os.ReadFile(nodes[0].Path(adminConf))
	if err != nil {
		return err
	}
	err = o.step(ctx, fmt.Sprintf("join %d nodes", o.Nodes-1), o.limit(), func(ctx context.Context, _ func(string)) error {
		for _, w := range nodes[1:] {
			// A kubelet that has its certificate need not ask for one, and then
			// notice it, which takes 5 s.
			kubelet, err := nodes[0].Command(ctx, nil, "/opt/lab/kubernetes/kubeadm", "kubeconfig", "user", "--config=/etc/lab/kubeadm.yaml",
				"--client-name=system:node:"+w.Name, "--org=system:nodes").Output()
			if err != nil {
				return fmt.Errorf("a certificate for %s: %w", w.Name, err)
			}
			if err := w.WriteFile(kubeletConf, kubelet); err != nil {
				return err
			}
			if err := w.WriteFile(joinConf, admin); err != nil {
				return err
			}
		}
		for _, w := range nodes[1:] {
			if err := w.wait(ctx, "kubeadm", node.Done); err != nil {
				return err
			}
		}
		return o.writeKubeconfig(admin, c.state.API)
	})
	if err != nil {
		return err
	}
	return o.step(ctx, "wait for nodes and DNS", o.limit(), func(ctx context.Context, detail func(string)) error {
		program := filepath.Join(programs[component.Kubernetes.Name], "kubectl")
		dns, err := fill("coredns.yaml", newParams(0, o.Patience, c.state.Versions))
		if err != nil {
			return err
		}
		for _, call := range []struct{ stdin, args string }{
			{dns, "apply --server-side -f -"},
			{"", "wait node --all --for=condition=Ready --timeout=" + o.limit().String()},
			{"", "-n kube-system rollout status deployment/coredns --timeout=" + o.limit().String()},
		} {
			detail(call.args)
			if err := kubectl(ctx, program, o.Dirs.kubeconfig(), strings.NewReader(call.stdin), strings.Fields(call.args)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// systemImages packs the images that kubeadm and CoreDNS ask for. The control
// plane's hold only pause: their program, which is large and on each node
// already, is mounted over it (kubeadm.yaml).
func (o Options) systemImages(programs, versions map[string]string) (string, error) {
	images := []image.Image{
		systemImage("pause:lab", filepath.Join(programs[component.Pause.Name], "pause")),
		systemImage("etcd:"+versions[component.Etcd.Name], filepath.Join(programs[component.Etcd.Name], "etcd")),
		systemImage("coredns:"+versions[component.CoreDNS.Name], filepath.Join(programs[component.CoreDNS.Name], "coredns")),
	}
	for _, p := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		images = append(images, systemImage(p+":"+versions[component.Kubernetes.Name], filepath.Join(programs[component.Pause.Name], "pause")))
	}
	return image.Cached(filepath.Join(o.Dirs.Cache, "images"), "system", images...)
}

func systemImage(tagged, program string) image.Image {
	at := "/" + filepath.Base(program)
	return image.Image{Ref: repository + "/" + tagged, Files: map[string]string{at: program}, Entrypoint: []string{at}}
}

func (o Options) writeKubeconfig(admin []byte, api string) error {
	cfg, err := clientcmd.Load(admin)
	if err != nil {
		return fmt.Errorf("builtin: kubeadm's kubeconfig: %w", err)
	}
	for _, c := range cfg.Clusters {
		c.Server = api
	}
	return clientcmd.WriteToFile(*cfg, o.Dirs.kubeconfig())
}

func waitFile(ctx context.Context, path string) error {
	return poll.Until(ctx, 10*time.Millisecond, func(context.Context) (string, error) {
		if _, err := os.Stat(path); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
}
