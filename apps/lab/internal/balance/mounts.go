package balance

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// file is a key of a ConfigMap that a container sees as a file.
type file struct {
	configMap *corev1.ConfigMap
	key       string
	content   string
}

// mounted returns the files that a mount brings from ConfigMaps.
func (c *Cluster) mounted(w manifest.Workload, mount corev1.VolumeMount) []file {
	for _, volume := range w.Template.Spec.Volumes {
		if volume.Name == mount.Name {
			return c.filesOf(w, volume, mount.SubPath)
		}
	}
	return nil
}

// filesOf returns the files of a volume that come from ConfigMaps, or the one at a path
// in it if that is not "".
func (c *Cluster) filesOf(w manifest.Workload, v corev1.Volume, at string) []file {
	var all []file
	add := func(name string, items []corev1.KeyToPath) {
		configMap := c.configMap(name, w.GetNamespace())
		if configMap == nil {
			return
		}
		paths := map[string]string{} // by key
		for _, i := range items {
			paths[i.Key] = i.Path
		}
		for _, key := range sortedNames(configMap.Data) {
			path, chosen := paths[key]
			if len(items) > 0 && !chosen || at != "" && cmp.Or(path, key) != at {
				continue
			}
			all = append(all, file{configMap, key, configMap.Data[key]})
		}
	}
	if v.ConfigMap != nil {
		add(v.ConfigMap.Name, v.ConfigMap.Items)
	}
	if v.Projected != nil {
		for _, source := range v.Projected.Sources {
			if source.ConfigMap != nil {
				add(source.ConfigMap.Name, source.ConfigMap.Items)
			}
		}
	}
	return all
}
