package kind

import (
	"context"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
)

// Library is what a test puts in place of kind's library.
type Library = library

// Fake is what a test puts in place of Docker, kind's library and the cluster.
type Fake struct {
	Docker  func(ctx context.Context, line func(string), args ...string) (string, error)
	Library func(log.Logger) Library
	Connect func(ctx context.Context, o Options, kubeconfig string) (*external.Cluster, error)
	Ready   func(ctx context.Context, o Options, detail func(string)) error
}

func (f Fake) engine() engine { return engine{f.Docker, f.Library, f.Connect, f.Ready} }

func (f Fake) Up(ctx context.Context, o Options) (*Cluster, error)   { return f.engine().up(ctx, o) }
func (f Fake) Find(ctx context.Context, o Options) (*Cluster, error) { return f.engine().find(ctx, o) }
func (f Fake) Down(ctx context.Context, o Options) error             { return f.engine().down(ctx, o) }

// What only tests outside of the package reach for.
var (
	Reason      = reason
	KubeletSays = kubeletSays
	Said        = said
	Unready     = unready
)

const Settle = settle

func (o Options) Unfinished() string { return o.unfinished() }

// Config is the configuration for a daemon.
func Config(o Options, kubernetes string, cgroupV1, local bool) *v1alpha4.Cluster {
	return o.config(version.MustParseGeneric(kubernetes), daemon{cgroupV1: cgroupV1, local: local})
}

func NewLogger(dir string, detail func(string)) (log.Logger, func(), error) {
	l, err := newLogger(dir, detail)
	if err != nil {
		return nil, nil, err
	}
	return l, l.close, nil
}

// Killed does what is done of Up before its process is killed: what the library
// panics with comes out.
func Killed(ctx context.Context, f Fake, o Options) {
	e := f.engine()
	daemon, err := e.daemon(ctx)
	if err != nil {
		panic(err)
	}
	if err := o.note(ctx, e, daemon); err != nil {
		panic(err)
	}
	_ = e.library(log.NoopLogger{}).Create(o.Name)
}

// NetworkOf is what faults need to know of the network.
var NetworkOf = networkOf
