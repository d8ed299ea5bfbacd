package strategy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// Every strategy of the lab is an overlay on disk or a variant, and every variant that a
// run takes unasked is a strategy. An overlay of another name is someone's own.
func TestStrategiesAreOverlays(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	names, err := repository.All()
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, s := range strategy.All() {
		declared[s.Name] = true
		if !slices.Contains(names, s.Name) {
			t.Errorf("strategy %s is neither an overlay nor a variant", s.Name)
		}
	}
	for _, v := range manifest.Variants {
		if declared[v.Name] == v.Asked {
			t.Errorf("variant %s is a strategy: %t, is taken only if it is asked for: %t", v.Name, declared[v.Name], v.Asked)
		}
	}
}

// An overlay of another name is measured, beside the strategy that it follows, as
// that, but by no claim about that one's own files; what does not exist is not.
func TestNamed(t *testing.T) {
	from, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "base"), os.DirFS(filepath.Join(from.Root(), "base"))); err != nil {
		t.Fatal(err)
	}
	for name, like := range map[string]string{"l4": "l4", "istio": "istio", "shop": "istio", "till": "k8s-api"} {
		if err := os.CopyFS(filepath.Join(root, "overlays", name), os.DirFS(filepath.Join(from.Root(), "overlays", like))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module github.com/grpc-lb/grpc-lb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	repository, err := manifest.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	named, err := strategy.Named(repository, []string{"shop", "till", "istio", "l4"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range named {
		var claims []string
		for _, c := range s.Claims {
			claims = append(claims, strconv.Itoa(c.ID))
		}
		got = append(got, s.String()+": "+s.Sidecar.Container+" "+strings.Join(claims, " "))
	}
	claims := func(name string, own bool) string {
		var all []string
		for _, s := range strategy.All() {
			for _, c := range s.Claims {
				if s.Name == name && (own || !c.Own) {
					all = append(all, strconv.Itoa(c.ID))
				}
			}
		}
		return strings.Join(all, " ")
	}
	want := []string{
		"l4:  " + claims("l4", true), "till, which follows k8s-api:  " + claims("k8s-api", false),
		"istio: istio-proxy " + claims("istio", true), "shop, which follows istio: istio-proxy " + claims("istio", false),
	}
	if claims("istio", true) == claims("istio", false) {
		t.Error("no claim of istio is about its own files alone")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
	if _, err := strategy.Named(repository, []string{"l4", "l5"}); err == nil || !strings.Contains(err.Error(), `"l5" does not exist`) {
		t.Errorf("error %v of an overlay that does not exist", err)
	}
}

// No overlay carries the mark by which the lab knows its own namespaces.
func TestOverlaysDoNotCarryTheMark(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strategy.All() {
		rendered, err := repository.Render(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(rendered), runner.MadeByLab) {
			t.Errorf("overlay %s contains %s", s.Name, runner.MadeByLab)
		}
	}
}
