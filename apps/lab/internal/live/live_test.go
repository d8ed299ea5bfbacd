package live_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/browsertest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/live"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage/stagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// acting is a strategy that runs on the server's page.
type acting struct {
	env   *runner.Environment
	ended chan error
}

// run lets a strategy begin with a server of that name, which answers a client.
func run(t *testing.T, on *stage.Stage, name, pod string) acting {
	t.Helper()
	return runOn(t, &stagetest.Cluster{}, on, name, pod)
}

// runOn lets it begin on a cluster.
func runOn(t *testing.T, cluster *stagetest.Cluster, on *stage.Stage, name, pod string) acting {
	t.Helper()
	now := time.Now()
	facts := observe.NewFacts(observe.Subject{Strategy: name})
	facts.Ready[pod] = now.Add(-time.Minute)
	facts.Clients["client"] = &observe.Client{Started: now.Add(-time.Minute), First: map[string]time.Time{pod: now.Add(-time.Minute)}}
	st := acting{cluster.Environment(runner.Strategy{Name: name, Balancer: "the client"}, facts), make(chan error, 1)}
	for second := -30; second < 0; second++ {
		st.answers(now.Add(time.Duration(second)*time.Second), pod)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { st.ended <- on.Watch(ctx, st.env) }()
	if err := poll.Until(ctx, time.Millisecond, func(context.Context) (string, error) {
		for _, seen := range on.View().Strategies {
			if seen.Name == name && seen.Running {
				return "", nil
			}
		}
		return name + " does not run", nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-st.ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return st
}

// answers notes a window of a second in which the pods answered.
func (st acting) answers(at time.Time, pods ...string) {
	st.env.Record.Update(func(f *observe.Facts) {
		w := calllog.Window{Start: at, End: at.Add(time.Second), Servers: map[string]int64{}}
		for _, pod := range pods {
			w.Servers[pod] = 20
			if _, known := f.Ready[pod]; !known {
				f.Ready[pod] = at
			}
		}
		f.Clients["client"].Windows = append(f.Clients["client"].Windows, w)
	})
}

func serve(t *testing.T, s *live.Server) (link string) {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server.URL + "/" + s.Token + "/"
}

func status(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// Who does not know the token sees nothing, a page of others cannot press a button, and a
// button that nobody knows says so.
func TestRefuses(t *testing.T) {
	on := stage.New([]string{"l4"})
	s := live.New(on)
	link := serve(t, s)
	run(t, on, "l4", "pod-a")
	root := strings.TrimSuffix(link, s.Token+"/")
	for _, tt := range []struct {
		name, method, url string
		header            []string
		want              int
	}{
		{name: "the page", method: "GET", url: link, want: 200},
		{name: "no token", method: "GET", url: root, want: 403},
		{name: "a wrong token", method: "GET", url: root + "AAAA/", want: 403},
		{name: "a wrong token for a button", method: "POST", url: root + "AAAA/quit", want: 403},
		{name: "a button from another page", method: "POST", url: link + "quit", header: []string{"Origin", "http://evil.example"}, want: 403},
		{name: "an unknown strategy", method: "POST", url: link + "do/l5/scale-out", want: 404},
		{name: "an unknown button", method: "POST", url: link + "do/l4/explode", want: 404},
		{name: "a button by a link", method: "GET", url: link + "do/l4/scale-out", want: 403},
	} {
		if got, body := status(t, tt.method, tt.url, tt.header...); got != tt.want {
			t.Errorf("%s: %d, want %d: %s", tt.name, got, tt.want, body)
		}
	}
	select {
	case <-on.Done():
		t.Error("a refused request ended the server")
	default:
	}
}

// A page that is saved has the pictures, no button and no script.
func TestSaved(t *testing.T) {
	on := stage.New([]string{"l4", "later"})
	s := live.New(on)
	link := serve(t, s)
	run(t, on, "l4", "pod-<script>")
	_, html := status(t, "GET", link+"report.html")
	for _, wrong := range []string{"<script", "<form", "<button"} {
		if strings.Contains(html, wrong) {
			t.Errorf("the saved page has %q", wrong)
		}
	}
	if !strings.Contains(html, `class="lanes"`) || !strings.Contains(html, "it starts") {
		t.Errorf("the saved page lacks a picture, or the strategy that has not begun:\n%.2000s", html)
	}
}

// A change that the rights or the cluster do not allow has a button that is off and says
// why, also to who cannot see it, and is refused. What is in force has a button that takes
// it back, and is told.
func TestButtons(t *testing.T) {
	s := stage.New([]string{"l4", "k8s-api"})
	link := serve(t, live.New(s))
	runOn(t, &stagetest.Cluster{Denied: []string{"pods/portforward"}}, s, "l4", "pod-a")
	runOn(t, &stagetest.Cluster{Lacks: "the nodes are <out of reach>"}, s, "k8s-api", "pod-a")
	_, html := status(t, "GET", link)
	for _, want := range []string{
		`action="do/l4/scale-out"><button>scale out</button>`,
		`action="do/l4/slow"><button disabled title="you may not create, get pods/portforward" aria-describedby="why-l4-0">`,
		`id="why-l4-0">off: make the busiest server slow: you may not`,
		`action="do/k8s-api/api-away"><button disabled title="the nodes are &lt;out of reach&gt;" aria-describedby="why-k8s-api-0">`,
		`id="why-k8s-api-0">off: kill -9 the busiest pod, take the API server away, take a node&#39;s link down: the nodes are &lt;out of reach&gt;`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s on the page:\n%.6000s", want, html)
		}
	}
	for button, want := range map[string]int{"l4/slow": 403, "k8s-api/kill": 403, "k8s-api/link-down": 403, "l4/api-away": 204} {
		if code, body := status(t, "POST", link+"do/"+button); code != want {
			t.Errorf("%s: %d %s, want %d", button, code, body, want)
		}
	}
	_, html = status(t, "GET", link)
	for _, strategy := range []string{"l4", "k8s-api"} {
		if want := `action="do/` + strategy + `/api-back"><button class="on">give the API server back</button>`; !strings.Contains(html, want) {
			t.Errorf("no %s on the page:\n%.6000s", want, html)
		}
	}
	if _, saved := status(t, "GET", link+"report.html"); strings.Count(saved, "in force: no pod reaches the API server") != 2 {
		t.Errorf("the saved page does not tell both strategies what is in force:\n%.6000s", saved)
	}
}

// A strategy that cannot be shown says why, and its buttons do nothing, as those of one that
// has ended.
func TestFailed(t *testing.T) {
	on := stage.New([]string{"l4", "linkerd"})
	s := live.New(on)
	link := serve(t, s)
	st := run(t, on, "l4", "pod-a")
	on.Failed("linkerd", "the image cannot be had")
	if _, html := status(t, "GET", link); !strings.Contains(html, "not shown: the image cannot be had") {
		t.Errorf("the page does not say why linkerd is not shown:\n%.3000s", html)
	}
	on.End()
	err := <-st.ended
	st.ended <- err
	if err != nil {
		t.Errorf("the end of l4: %v", err)
	}
	for _, strategy := range []string{"l4", "linkerd"} {
		if code, body := status(t, "POST", link+"do/"+strategy+"/scale-out"); code != 404 {
			t.Errorf("a button of %s: %d %s, want 404", strategy, code, body)
		}
	}
}

// Events send what changed. A browser that does not read does not hold up others.
func TestEvents(t *testing.T) {
	on := stage.New([]string{"l4"})
	s := live.New(on)
	link := serve(t, s)
	st := run(t, on, "l4", "pod-a")
	sleepy, err := net.Dial("tcp", strings.Split(strings.TrimPrefix(link, "http://"), "/")[0])
	if err != nil {
		t.Fatal(err)
	}
	defer sleepy.Close()
	fmt.Fprintf(sleepy, "GET /%s/events HTTP/1.1\r\nHost: x\r\n\r\n", s.Token)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	drawn := func() string {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok && strings.Contains(text, `"stage-l4"`) {
				return text
			}
		}
		t.Fatalf("the events end: %v", lines.Err())
		return ""
	}
	if first := drawn(); !strings.Contains(first, "pod 1 · a") || strings.Contains(first, "pod 2") {
		t.Errorf("the first drawing lacks pod 1, or has pod 2: %.300s", first)
	}
	began := time.Now()
	st.answers(time.Now().Add(-time.Second), "pod-a", "pod-b")
	st.answers(time.Now(), "pod-a", "pod-b")
	for !strings.Contains(drawn(), "pod 2 · b") {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the new pod was not drawn")
		}
	}
	t.Logf("drawn %v after the log line", time.Since(began).Round(time.Millisecond))
	if code, body := status(t, "POST", link+"quit"); code != 204 {
		t.Fatalf("quit: %d %s", code, body)
	}
	for lines.Scan() {
		if lines.Text() == "event: end" {
			return
		}
	}
	t.Error("the page was not told of the end")
}

// A browser shows lanes that grow, in two windows and after a reload, and takes the end.
func TestInBrowser(t *testing.T) {
	browser := browsertest.Open(t)
	on := stage.New([]string{"l4", "k8s-api"})
	s := live.New(on)
	link := serve(t, s)
	run(t, on, "l4", "pod-a")
	balanced := run(t, on, "k8s-api", "pod-a")
	browser.Do("opening the page", chromedp.Navigate(link))
	second := browsertest.Open(t)
	second.Do("opening it again", chromedp.Navigate(link))
	const lanes = `document.querySelectorAll("#stage-k8s-api .lanes g > .name").length`
	browser.Await("one lane", lanes+" === 1")
	browser.Do("reloading", chromedp.Reload())
	balanced.answers(time.Now().Add(-2*time.Second), "pod-a", "pod-b")
	balanced.answers(time.Now().Add(-time.Second), "pod-a", "pod-b")
	balanced.answers(time.Now(), "pod-a", "pod-b")
	for _, p := range []*browsertest.Page{browser, second} {
		p.Await("the new pod's lane", lanes+" === 2")
		if n := browsertest.Value[float64](p, `document.querySelectorAll("#stage-l4 .lanes g > .name").length`); n != 1 {
			t.Errorf("l4 has %.0f lanes, want 1", n)
		}
	}
	browser.Do("taking the API server away by the keyboard", chromedp.Focus(`form[action="do/l4/api-away"] button`), chromedp.KeyEvent(kb.Enter))
	for _, p := range []*browsertest.Page{browser, second} {
		p.Await("the button that gives it back, in both strategies", `document.querySelectorAll('form[action$="/api-back"] button.on').length === 2`)
		p.Await("what is in force", `document.querySelector("#stage-k8s-api .force")?.textContent.includes("no pod reaches the API server")`)
	}
	browser.Await("the focus on the button that gives it back", `document.activeElement.textContent === "give the API server back"`)
	browser.Check("live")
	browser.Do("ending it", chromedp.Click(`form[action="quit"] button`))
	for _, p := range []*browsertest.Page{browser, second} {
		p.Await("the end", `document.getElementById("connection").textContent.includes("ended")`)
	}
}
