// Package browsertest lets tests look at pages with a real browser: Chromium, headless.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Variables that CI sets. Without a browser a test is skipped by name, unless it is
// required.
const (
	required = "LAB_BROWSER" // "required", or empty
	axe      = "LAB_AXE"     // the file axe.min.js, which checks whether everybody can use a page
	pictures = "LAB_SHOTS"   // a directory for pictures of the pages
)

// timeout is for a whole test, awaited for one thing in it.
const (
	timeout = 5 * time.Minute
	awaited = 2 * time.Minute
)

// Page is a window of a browser.
type Page struct {
	context.Context
	t      *testing.T
	mu     sync.Mutex
	errors []string // of the console
}

// Open starts a browser with one window. Its end is the test's.
func Open(t *testing.T) *Page {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		if os.Getenv(required) != "" {
			t.Fatal("no chromium is on PATH, and " + required + " is set: install Debian's package chromium")
		}
		t.Skip("no chromium is on PATH")
	}
	limited, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox)
	allocated, stop := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(allocated)
	t.Cleanup(closeTab)
	p := &Page{Context: ctx, t: t}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError && !strings.Contains(e.Entry.URL, "favicon") {
				p.note(e.Entry.Text + " " + e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			p.note(e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				p.note(fmt.Sprint(e.Args))
			}
		}
	})
	p.Do("opening a window", chromedp.Navigate("about:blank"))
	return p
}

func (p *Page) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors = append(p.errors, text)
}

// Do runs actions of chromedp; what says what they are.
func (p *Page) Do(what string, actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.Context, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// Value evaluates JavaScript and returns its value.
func Value[T any](p *Page, script string) (value T) {
	p.t.Helper()
	p.Do(script, chromedp.Evaluate(script, &value))
	return value
}

// Await waits until JavaScript gives true. The page does not look itself: a browser slows
// down the timers of a window that is behind another.
func (p *Page) Await(what, script string) {
	p.t.Helper()
	limited, cancel := context.WithTimeoutCause(p.Context, awaited, fmt.Errorf("not in %s", awaited))
	defer cancel()
	if err := poll.Until(limited, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		var reached bool
		if err := chromedp.Run(ctx, chromedp.Evaluate(script, &reached)); err != nil || reached {
			return "", err
		}
		return script + " is false", nil
	}); err != nil {
		p.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// Phone makes the window as narrow as a phone's, and Desktop wide again.
func (p *Page) Phone() { p.size(360, 740) }

// Desktop makes the window wide.
func (p *Page) Desktop() { p.size(1200, 900) }

func (p *Page) size(width, height int64) {
	p.t.Helper()
	p.Do("resizing", emulation.SetDeviceMetricsOverride(width, height, 1, width < 600))
}

// Check wants the page to fit its width, to have written no error on the console, and to be
// usable by everybody, as far as axe-core can tell.
func (p *Page) Check(name string) {
	p.t.Helper()
	p.Phone()
	if wide := Value[float64](p, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
		p.t.Errorf("%s scrolls sideways by %.0f pixels on a phone", name, wide)
	}
	p.shot(name + "-phone")
	p.Desktop()
	p.shot(name)
	for _, scheme := range []string{"light", "dark"} {
		p.Do("choosing "+scheme, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
		p.accessible(name + ", " + scheme)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.errors {
		p.t.Errorf("%s: the console has an error: %s", name, e)
	}
}

// accessible runs axe-core on the page.
func (p *Page) accessible(name string) {
	p.t.Helper()
	file := os.Getenv(axe)
	if file == "" {
		if os.Getenv(required) != "" {
			p.t.Fatal(axe + " does not name axe.min.js")
		}
		p.t.Log("not checked for accessibility: " + axe + " does not name axe.min.js")
		return
	}
	script, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	var ignored any
	var raw string
	p.Do("running axe", chromedp.Evaluate(string(script)+";0", &ignored),
		chromedp.Evaluate(`axe.run().then(r => JSON.stringify(r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.target).join(", "))))`, &raw,
			func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	var violations []string
	if err := json.Unmarshal([]byte(raw), &violations); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range violations {
		p.t.Errorf("%s: axe: %s", name, v)
	}
}

// shot keeps a picture of the whole page where CI asks for it.
func (p *Page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv(pictures)
	if dir == "" {
		return
	}
	const quality = 100 // PNG
	var content []byte
	p.Do("taking a picture", chromedp.FullScreenshot(&content, quality))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
