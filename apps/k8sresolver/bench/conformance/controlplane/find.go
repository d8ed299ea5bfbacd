package controlplane

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Programs are the paths of what a control plane consists of.
type Programs struct {
	Etcd, APIServer string
}

// Find returns the programs in the directory that the variable KUBEBUILDER_ASSETS
// names, as envtest lays them out, or the ones that the lab of this repository has
// built last. The error says what to do when there are none.
func Find() (Programs, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		p := Programs{Etcd: filepath.Join(dir, "etcd"), APIServer: filepath.Join(dir, "kube-apiserver")}
		for _, path := range []string{p.Etcd, p.APIServer} {
			if _, err := os.Stat(path); err != nil {
				return Programs{}, fmt.Errorf("KUBEBUILDER_ASSETS=%s: %w", dir, err)
			}
		}
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Programs{}, err
	}
	p := Programs{
		Etcd:      newest(filepath.Join(cache, "grpc-lb", "components", "etcd-*", "etcd")),
		APIServer: newest(filepath.Join(cache, "grpc-lb", "components", "kubernetes-*", "kube-apiserver")),
	}
	if p.Etcd == "" || p.APIServer == "" {
		return Programs{}, fmt.Errorf("no kube-apiserver and etcd under %s: run go run ./apps/lab up once, or set KUBEBUILDER_ASSETS to a directory that holds both",
			filepath.Join(cache, "grpc-lb", "components"))
	}
	return p, nil
}

// newest returns the file of a pattern that was written last, or "".
func newest(pattern string) string {
	paths, _ := filepath.Glob(pattern)
	written := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	if len(paths) == 0 {
		return ""
	}
	return slices.MaxFunc(paths, func(a, b string) int { return cmp.Compare(written(a), written(b)) })
}
