package argocd

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

const (
	repository = "lab.local"
	user       = "999:999" // that of Argo CD's own image
)

// Needs are the programs that come from the machine, and the Debian packages
// that have them. Debian's redis-server would start a server on this machine:
// the same program, which goes by its name, is in redis-tools too.
var Needs = map[string]string{"git": "git", "tini": "tini", "redis-check-rdb": "redis-tools", "ldd": "libc-bin", "cp": "coreutils"}

// links are the names by which Argo CD's one program is called.
var links = []string{"argocd-server", "argocd-repo-server", "argocd-application-controller"}

// Archive packs Argo CD's image and that of Redis.
func (a *ArgoCD) Archive(ctx context.Context, cache string) (string, error) {
	host := map[string]string{}
	for program := range Needs {
		path, err := exec.LookPath(program)
		if err != nil {
			return "", fmt.Errorf("argocd: %w: install Debian's %s", err, Needs[program])
		}
		host[program] = path
	}
	core, err := exec.CommandContext(ctx, host["git"], "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("argocd: git --exec-path: %w", err)
	}
	execPath := strings.TrimSpace(string(core))
	main, err := image.WithLibraries(ctx, map[string]string{
		"/usr/local/bin/argocd":               filepath.Join(a.Programs[component.ArgoCD.Name], "argocd"),
		"/usr/local/bin/kustomize":            filepath.Join(a.Programs[component.Kustomize.Name], "kustomize"),
		"/usr/bin/tini":                       host["tini"],
		"/usr/bin/git":                        host["git"],
		filepath.Join(execPath, "git-daemon"): filepath.Join(execPath, "git-daemon"),
		"/bin/cp":                             host["cp"],
	})
	if err != nil {
		return "", err
	}
	redis, err := image.WithLibraries(ctx, map[string]string{"/usr/local/bin/redis-server": host["redis-check-rdb"]})
	if err != nil {
		return "", err
	}
	called := map[string]string{}
	for _, l := range links {
		called["/usr/local/bin/"+l] = "argocd"
	}
	return image.Cached(cache, "argocd",
		image.Image{
			Ref: a.ref("argocd"), User: user, Entrypoint: []string{"/usr/bin/tini", "--"},
			Files: main, Links: called, Dirs: []string{"/home/argocd", "/tmp"},
		},
		image.Image{Ref: a.ref("redis"), User: user, Entrypoint: []string{"/usr/local/bin/redis-server"}, Files: redis},
	)
}

func (a *ArgoCD) ref(name string) string { return repository + "/" + name + ":" + a.tag() }

func (a *ArgoCD) tag() string { return a.Versions[component.ArgoCD.Name] }
