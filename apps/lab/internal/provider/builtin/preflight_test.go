//go:build linux

package builtin

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// What was compiled for one group of components is gone before the next is built;
// sources and programs add up. A cold run of all strategies needs some 8 GiB, and a
// warm one the room for images and logs alone.
func TestStages(t *testing.T) {
	peak := func(groups ...[]component.Component) (gibs float64) {
		for _, s := range stages(slices.Concat(groups...)) {
			gibs = max(gibs, float64(s.cache+s.modules)/gib)
		}
		return gibs
	}
	for _, c := range slices.Concat(component.Groups...) {
		if c.Space.Programs == 0 || len(c.Programs) > 0 && c.Space.Compiled == 0 {
			t.Errorf("%s takes no space: %+v", c.Name, c.Space)
		}
	}
	warm, one := peak(), peak(component.Images)
	cluster, run := peak(component.Cluster), peak(component.Cluster, component.Images, component.Mesh)
	all := peak(component.Groups...)
	if !(warm < one && one < cluster && cluster <= run && run <= all) || warm != 1 || run < 7 || run > 9 {
		t.Errorf("GiB at most: warm %.1f, ko alone %.1f, a cluster %.1f, a run %.1f, with Argo CD %.1f; want them to grow from 1, and some 8 for a run", warm, one, cluster, run, all)
	}
	if sum := peak(component.Cluster) + peak(component.GitOps); all >= sum {
		t.Errorf("%.1f GiB for all groups, want less than the sum of two, %.1f: each drops what it compiled", all, sum)
	}
}

// A disk that is too small is told with what is free and what is needed.
func TestCheckSpace(t *testing.T) {
	b := component.Builder{Root: t.TempDir(), Cache: t.TempDir()}
	if err := checkSpace(t.Context(), b, nil); err != nil {
		t.Errorf("a warm run: %v", err)
	}
	huge := component.Kubernetes
	huge.Space.Compiled = 1 << 40 // MiB
	groups := component.Groups
	t.Cleanup(func() { component.Groups = groups })
	component.Groups = [][]component.Component{{huge}}
	err := checkSpace(t.Context(), b, []component.Component{huge})
	if err == nil || !strings.Contains(err.Error(), "GiB are free at ") || !strings.Contains(err.Error(), "the lab needs 1073741825.") {
		t.Errorf("error %v, want the free space and a need of a zettabyte", err)
	}
}
