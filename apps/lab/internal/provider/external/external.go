// Package external measures on a Kubernetes that somebody else runs, reached by a
// context of the user's kubeconfig. The lab installs nothing there beside its own
// namespaces, and what such a cluster does not show (the audit log, the nodes'
// processes) stays unknown.
package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/coredns"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

const (
	// answerTime is how long an API server may take for one answer at first.
	answerTime = 15 * time.Second
	// preflightTime is how long all questions before a run may take.
	preflightTime = time.Minute
	// maxSkew is by how much clocks may differ: claims compare times of this
	// machine with those in the pods' logs.
	maxSkew = 2 * time.Second
)

// ErrNoContext says that the kubeconfig has no such context.
var ErrNoContext = errors.New("there is no such context")

// Options say which cluster is meant.
type Options struct {
	// Kubeconfig is a file; empty means what kubectl takes: KUBECONFIG, else
	// ~/.kube/config.
	Kubeconfig string
	// Context is a name in it.
	Context string
	// Registry is where the nodes get the lab's images from; nil where LoadImages
	// is not called. Push says that LoadImages puts them there.
	Registry *image.Registry
	Push     bool
}

// Cluster is a cluster that was there before. It implements cluster.Cluster.
type Cluster struct {
	options  Options
	config   *rest.Config
	host     string // config's
	file     string
	versions map[string]string
	skew     time.Duration // of the API server's clock, ahead of this machine's
}

var _ cluster.Cluster = (*Cluster)(nil)

// Connect finds the context and asks its API server for the version. An error
// wraps ErrNoContext where there is no such context, and names those that are.
func Connect(ctx context.Context, o Options) (*Cluster, error) {
	config, found, err := load(o.Context, o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: o, config: config, host: config.Host, file: found.LocationOfOrigin}
	if err := c.ask(ctx); err != nil {
		return nil, fmt.Errorf("external: context %q: the API server %s does not answer: %w", o.Context, config.Host, err)
	}
	return c, nil
}

// Config returns how to reach the cluster of a context, or of the current one without a
// name, and the context's namespace.
func Config(name string) (*rest.Config, string, error) {
	config, found, err := load(name, "")
	if err != nil {
		return nil, "", err
	}
	return config, cmp.Or(found.Namespace, "default"), nil
}

func load(name, kubeconfig string) (*rest.Config, *clientcmdapi.Context, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	all, err := rules.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("external: reading the kubeconfig: %w", err)
	}
	name = cmp.Or(name, all.CurrentContext)
	found := all.Contexts[name]
	if found == nil {
		there := "it has none"
		if names := slices.Sorted(maps.Keys(all.Contexts)); len(names) > 0 {
			there = "expected one of " + strings.Join(names, ", ")
		}
		return nil, nil, fmt.Errorf("external: context %q of %s: %w: %s", name, strings.Join(rules.Precedence, ":")+kubeconfig, ErrNoContext, there)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*all, name, nil, rules).ClientConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("external: context %q: %w", name, err)
	}
	return config, found, nil
}

// ask gets the server's version and clock.
func (c *Cluster) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("not in %s", answerTime))
	defer cancel()
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.config.Host, "/")+"/version", nil)
	if err != nil {
		return err
	}
	if request.URL.Scheme == "" {
		if request, err = http.NewRequestWithContext(ctx, http.MethodGet, "https://"+request.URL.String(), nil); err != nil {
			return err
		}
	}
	begin := time.Now()
	response, err := client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	version, err := versionOf(response.StatusCode, body)
	if err != nil {
		return err
	}
	c.versions = map[string]string{"kubernetes": version}
	c.skew = skew(response.Header.Get("Date"), begin, time.Now())
	return nil
}

// skew returns by how much the server's clock, which its header tells in whole
// seconds, is certainly ahead of this machine's, or behind it if negative.
func skew(header string, begin, end time.Time) time.Duration {
	from, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	to := from.Add(time.Second)
	switch {
	case from.After(end):
		return from.Sub(end)
	case to.Before(begin):
		return to.Sub(begin)
	}
	return 0
}

// Architectures implements cluster.Cluster. A user without the
// right to list nodes does not know them.
func (c *Cluster) Architectures(ctx context.Context) (all []string, known bool) {
	client, err := kube.New(c.config)
	if err != nil {
		return []string{runtime.GOARCH}, false
	}
	list, err := client.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return []string{runtime.GOARCH}, false
	}
	for _, n := range list.Items {
		all = append(all, n.Status.NodeInfo.Architecture)
	}
	slices.Sort(all)
	return slices.Compact(all), true
}

// DNS implements cluster.Cluster: it reads the Corefile where the rights allow it.
func (c *Cluster) DNS(ctx context.Context) cluster.DNS {
	client, err := kube.New(c.config)
	if err != nil {
		return cluster.UsualDNS
	}
	if ttl, cache, known := coredns.Read(ctx, client.Typed); known {
		return cluster.DNS{TTL: ttl, Cache: cache}
	}
	return cluster.UsualDNS
}

// Status implements cluster.Cluster. The nodes are not the lab's.
func (c *Cluster) Status() cluster.Status {
	return cluster.Status{Kind: c.Kind(), API: c.host, Kubeconfig: c.file, Versions: c.versions}
}

// Kind implements cluster.Cluster.
func (c *Cluster) Kind() string { return "external" }

// RESTConfig implements cluster.Cluster.
func (c *Cluster) RESTConfig() (*rest.Config, error) { return rest.CopyConfig(c.config), nil }

// Kubeconfig implements cluster.Cluster.
func (c *Cluster) Kubeconfig() string { return c.file }

// Host returns the API server's address.
func (c *Cluster) Host() string { return c.host }

// Versions implements cluster.Cluster.
func (c *Cluster) Versions() map[string]string { return maps.Clone(c.versions) }

// LoadImages implements cluster.Cluster: it puts the images into the registry, or
// makes sure that they are there. A registry that does not answer this machine
// may answer the nodes: only with Push is that an error.
func (c *Cluster) LoadImages(ctx context.Context, archives ...string) error {
	r := c.options.Registry
	if r == nil {
		return fmt.Errorf("external: the nodes are out of reach, and no registry is given: %w", errors.ErrUnsupported)
	}
	if c.options.Push {
		return r.Push(ctx, func(string) {}, archives...)
	}
	err := r.Check(ctx, archives...)
	if errors.Is(err, image.ErrUnreachable) {
		return nil
	}
	return err
}

// AuditLog implements cluster.Cluster.
func (c *Cluster) AuditLog(context.Context) (io.ReadCloser, error) {
	return nil, fmt.Errorf("external: the audit log is out of reach: %w", errors.ErrUnsupported)
}

// Usage implements cluster.Cluster.
func (c *Cluster) Usage(context.Context, ...types.UID) (map[string]cluster.Usage, error) {
	return nil, fmt.Errorf("the processes on this cluster's nodes are out of reach: %w", errors.ErrUnsupported)
}

// Kill implements cluster.Cluster.
func (c *Cluster) Kill(context.Context, types.UID, string) error { return c.CanKill() }

// CanKill implements cluster.Cluster.
func (c *Cluster) CanKill() error {
	return fmt.Errorf("the processes on this cluster's nodes are out of reach: %w", errors.ErrUnsupported)
}

// Break implements cluster.Cluster.
func (c *Cluster) Break(_ context.Context, f cluster.Fault) (func(context.Context) error, error) {
	return nil, c.CanBreak(f.Kind)
}

// CanBreak implements cluster.Cluster.
func (c *Cluster) CanBreak(cluster.FaultKind) error {
	return fmt.Errorf("the lab breaks the network only of clusters that it boots, and this one is somebody else's: %w", errors.ErrUnsupported)
}

// Client returns a client of the cluster.
func (c *Cluster) Client() (*kube.Client, error) { return kube.New(c.config) }
