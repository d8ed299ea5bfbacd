//go:build linux

package nodeimage_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/nodeimage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The configuration of containerd that kind's module holds is the one that is
// edited; another one is refused.
func TestConfigure(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind").Output()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "images/base/files/etc/containerd/config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := nodeimage.Configure(string(config), "example.com/pause:9")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n  sandbox_image = \"example.com/pause:9\"\n", "\n  restrict_oom_score_adj = true\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got, err := nodeimage.Configure("version = 3\n", "example.com/pause:9"); err == nil {
		t.Errorf("configured %q, want an error", got)
	}
}

// The capability is dropped from every set, and all else stays as it is.
func TestDropResources(t *testing.T) {
	const process = `{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},"oomScoreAdj":12345678901234567890}`
	const want = `{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]},"oomScoreAdj":12345678901234567890}`
	for _, test := range []struct {
		name, content, want string
		keys                []string
	}{
		{name: "container", content: `{"ociVersion":"1","process":` + process + `}`, want: `{"ociVersion":"1","process":` + want + `}`, keys: []string{"process"}},
		{name: "exec", content: process, want: want},
		{name: "no_capabilities", content: `{"args":["sh"]}`, want: `{"args":["sh"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := nodeimage.DropResources([]byte(test.content), test.keys...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got, err := nodeimage.DropResources([]byte("{")); err == nil {
		t.Errorf("edited %q, want an error", got)
	}
}

// What a machine lacks is told by the bounding set.
func TestLacksResources(t *testing.T) {
	for _, test := range []struct {
		name, status string
		want         bool
	}{
		{name: "all", status: "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"},
		{name: "all_but_one", status: "CapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\n", want: true},
		{name: "not_told", status: "Name:\tx\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := nodeimage.LacksResources(test.status); got != test.want {
				t.Errorf("lacks %v, want %v", got, test.want)
			}
		})
	}
}

// An image is made anew where anything differs that it is made of.
func TestContentKey(t *testing.T) {
	programs := map[string]string{"a": "/cache/a-0123", "b": "/cache/b-4567"}
	key, err := nodeimage.ContentKey("bookworm", "/mod/kind@v1", programs)
	if err != nil {
		t.Fatal(err)
	}
	if moved, _ := nodeimage.ContentKey("bookworm", "/elsewhere/kind@v1", map[string]string{"a": "/x/a-0123", "b": "/x/b-4567"}); moved != key {
		t.Errorf("key %s, moved %s, want the same", key, moved)
	}
	rebuilt := maps.Clone(programs)
	rebuilt["b"] = "/cache/b-89ab"
	for name, other := range map[string]func() (string, error){
		"suite":     func() (string, error) { return nodeimage.ContentKey("trixie", "/mod/kind@v1", programs) },
		"kind":      func() (string, error) { return nodeimage.ContentKey("bookworm", "/mod/kind@v2", programs) },
		"component": func() (string, error) { return nodeimage.ContentKey("bookworm", "/mod/kind@v1", rebuilt) },
	} {
		if got, err := other(); err != nil || got == key {
			t.Errorf("%s: key %s, %v, want another than %s", name, got, err, key)
		}
	}
}

// What comes from outside of the image's own files is a manifest: it is valid where
// the name of its image is put in.
func TestNetworkManifest(t *testing.T) {
	content, err := os.ReadFile("files/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), "IMAGE"); n != 1 {
		t.Errorf("IMAGE stands %d times in the manifest, want once", n)
	}
	conflist := string(content[strings.Index(string(content), "  conflist: |"):])
	conflist, _, _ = strings.Cut(strings.SplitN(conflist, "\n", 2)[1], "\n---")
	if !json.Valid([]byte(conflist)) {
		t.Errorf("the network's configuration is no JSON:\n%s", conflist)
	}
}
