package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

// quiet is how long a plain output waits before it repeats how far a step is.
const quiet = 20 * time.Second

// eraseLine is ECMA-48's "erase in line": all of it.
const eraseLine = "\x1b[2K"

// Printer is the Reporter for people: "[3/14] build etcd v3.7.3: done (41s)".
type Printer struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool // a terminal: one line is overwritten
	width int
	total int
	begun int
	shown map[string]time.Time // step to when its detail was last printed
	start map[string]time.Time
	index map[string]int
}

// NewPrinter reports total steps to w. A terminal gets one live line that is
// width columns wide; 0 means that w is none.
func NewPrinter(w io.Writer, total, width int) *Printer {
	return &Printer{
		w: w, live: width > 0, width: width, total: total,
		shown: map[string]time.Time{}, start: map[string]time.Time{}, index: map[string]int{},
	}
}

// Step implements Reporter.
func (p *Printer) Step(name string) func(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	p.total = max(p.total, p.begun)
	now := time.Now()
	p.index[name], p.start[name], p.shown[name] = p.begun, now, now
	if p.live {
		p.status(name, "")
	}
	return func(err error) { p.end(name, err) }
}

// Detail implements Reporter.
func (p *Printer) Detail(step, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index[step] == 0 {
		return
	}
	if p.live {
		p.status(step, detail)
		return
	}
	if now := time.Now(); now.Sub(p.shown[step]) >= quiet {
		p.shown[step] = now
		fmt.Fprintf(p.w, "%s: %s (%s so far)\n", p.label(step), detail, since(p.start[step]))
	}
}

// Print writes text, whole lines, between the steps.
func (p *Printer) Print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprint(p.w, text)
}

func (p *Printer) end(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	result := "done"
	if err != nil {
		result, _, _ = strings.Cut("failed: "+err.Error(), "\n")
	}
	p.clear()
	fmt.Fprintf(p.w, "%s: %s (%s)\n", p.label(name), result, since(p.start[name]))
	delete(p.index, name)
}

func (p *Printer) status(step, detail string) {
	line := p.label(step)
	if detail != "" {
		line += ": " + detail
	}
	p.clear()
	fmt.Fprint(p.w, text.Trim(line+" …", p.width-1))
}

func (p *Printer) clear() {
	if p.live {
		fmt.Fprint(p.w, "\r"+eraseLine)
	}
}

func (p *Printer) label(name string) string {
	return fmt.Sprintf("[%d/%d] %s", p.index[name], p.total, name)
}

func since(t time.Time) string {
	d := time.Since(t)
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
