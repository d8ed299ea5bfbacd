package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// Addon is what a run puts onto a cluster that lacks it, beside the overlays.
type Addon interface {
	fmt.Stringer // its name
	// Installed tells whether the cluster has it, whoever installed it.
	Installed(ctx context.Context, k *kube.Client) (bool, error)
	// Describe says what Install installs.
	Describe() (string, error)
	// Install returns when it works, Remove when nothing is left of it.
	Install(ctx context.Context, k *kube.Client) error
	Remove(ctx context.Context, k *kube.Client) error
}

// addon is shared by strategies: the first that needs it installs it, and the last
// that used it removes it.
type addon struct {
	what Addon // nil installs nothing

	mu        sync.Mutex
	users     int
	installed string // what was installed, "" where the cluster had it
	failed    error  // why that was not all of it
}

// join installs it unless it is there, and says what it installed. Who joined
// leaves, even after an error.
func (a *addon) join(ctx context.Context, client *kube.Client, note func(string, ...any)) (installed string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users++
	if a.what == nil || a.installed != "" {
		return a.installed, a.failed
	}
	there, err := a.what.Installed(ctx, client)
	if err != nil || there {
		return "", err
	}
	what, err := a.what.Describe()
	if err != nil {
		return "", err
	}
	a.installed = what
	note("install %s", what)
	begin := time.Now()
	if a.failed = a.what.Install(ctx, client); a.failed == nil {
		note("%s was ready after %s", a.what, Seconds(time.Since(begin).Round(10*time.Millisecond)))
	}
	return a.installed, a.failed
}

// leave removes what was installed when nobody uses it any more.
func (a *addon) leave(ctx context.Context, client *kube.Client, note func(string, ...any)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users--; a.users > 0 || a.installed == "" {
		return
	}
	note("remove %s", a.what)
	if err := a.what.Remove(ctx, client); err != nil {
		note("%v", err)
	}
	a.installed, a.failed = "", nil
}
