package main_test

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/browsertest"
)

// checkWatch presses buttons on the page of `lab watch`: after a scale-out the new pods of
// k8s-api get calls, and those of l4 get none. Its end leaves nothing.
func checkWatch(t *testing.T, f *foreign) {
	t.Helper()
	browser := browsertest.Open(t)
	cmd := exec.CommandContext(t.Context(), lab, "watch", "--context", "granted", "--registry", f.registry, "--push", "--only", e2e, "--yes")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "XDG_CACHE_HOME="+f.cache)
	log := filepath.Join(t.TempDir(), "log")
	said, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	t.Cleanup(func() {
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("lab watch said:\n%s", text)
		}
	})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("no link: %v: %v", lines.Err(), cmd.Wait())
	}
	link := lines.Text()
	browser.Do("opening "+link, chromedp.Navigate(link))
	called := func(strategy, n string) string {
		return `document.querySelectorAll("#stage-` + strategy + ` .lanes g > .name").length === ` + n +
			` && [...document.querySelectorAll("#stage-` + strategy + ` .lanes g")].filter(lane => lane.querySelector(":scope > path:not(.gone)")).length`
	}
	for strategy := range strings.SplitSeq(e2e, ",") {
		browser.Await(strategy+" to be called", called(strategy, "3")+" > 0")
		browser.Do("scaling out "+strategy, chromedp.Click(`form[action="do/`+strategy+`/scale-out"] button`))
	}
	off := func(action string) string {
		return `document.querySelector('form[action="do/l4/` + action + `"] button:disabled[title][aria-describedby]')?.title ?? ""`
	}
	for action, why := range map[string]string{"kill": "out of reach", "slow": "you may not create, get pods/portforward", "api-away": "somebody else's", "link-down": "somebody else's"} {
		if got := browsertest.Value[string](browser, off(action)); !strings.Contains(got, why) {
			t.Errorf("%s is off for %q, want %q", action, got, why)
		}
		answer, err := http.Post(link+"do/l4/"+action, "", nil) //nolint:noctx // the page's own request is like it
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s (%v), want that it is refused", action, answer.Status, err)
		}
	}
	pressed := time.Now()
	browser.Await("all six pods of k8s-api to be called", called("k8s-api", "6")+" === 6")
	t.Logf("the new pods' calls are drawn %v after the button", time.Since(pressed).Round(100*time.Millisecond))
	browser.Await("six pods of l4, of which at most three are called", called("l4", "6")+" <= 3")
	browser.Do("reloading", chromedp.Reload())
	browser.Await("the journal", `document.getElementById("journal").textContent.includes("k8s-api: scale out")`)
	browser.Check("watch")
	browser.Do("ending it", chromedp.Click(`form[action="quit"] button`))
	browser.Await("the end", `document.getElementById("connection").textContent.includes("ended")`)
	if err := cmd.Wait(); err != nil {
		t.Errorf("lab watch: %v", err)
	}
	for strategy := range strings.SplitSeq(e2e, ",") {
		if _, err := f.client.CoreV1().Namespaces().Get(t.Context(), "grpc-lb-"+strategy, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("namespace grpc-lb-%s is left: %v", strategy, err)
		}
	}
}
