// Package tui shows a stage in a terminal: a lane for each pod, and keys that change the
// strategies.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
)

// every is how often the screen is drawn again.
const every = 250 * time.Millisecond

// Terminal shows a stage until that ends. It is a progress reporter: while it shows, what
// the lab does is on the screen, and before and after that it goes to another reporter.
type Terminal struct {
	stage  *stage.Stage
	others progress.Reporter

	mu    sync.Mutex
	shows bool
	step  string
}

// New returns a terminal that does not show yet.
func New(s *stage.Stage, others progress.Reporter) *Terminal {
	return &Terminal{stage: s, others: others}
}

// Step implements progress.Reporter.
func (t *Terminal) Step(name string) (end func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.shows {
		return t.others.Step(name)
	}
	t.step = name
	return func(err error) {
		if err != nil {
			t.set(name + ": " + err.Error())
		}
	}
}

// Detail implements progress.Reporter.
func (t *Terminal) Detail(step, text string) {
	t.mu.Lock()
	shows := t.shows
	t.mu.Unlock()
	if !shows {
		t.others.Detail(step, text)
		return
	}
	t.set(step + ": " + text)
}

func (t *Terminal) set(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step = text
}

// Show shows the stage until it or the context ends, or until somebody presses q or
// Ctrl-C, which ends the stage. It brings the terminal back as it was.
func (t *Terminal) Show(ctx context.Context, in io.Reader, out io.Writer) error {
	t.mu.Lock()
	t.shows = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.shows = false
		t.mu.Unlock()
	}()
	p := tea.NewProgram(model{ctx: ctx, terminal: t, view: t.stage.View()}, tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
		case <-t.stage.Done():
		case <-ended:
			return
		}
		p.Quit()
	}()
	if _, err := p.Run(); err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	return nil
}

// model is what the program of the terminal holds.
type model struct {
	screen
	ctx      context.Context //nolint:containedctx // the program has no other way to hand it to a change
	terminal *Terminal
	view     stage.View
}

// The messages of the program.
type (
	tick   struct{}
	answer string // what a change came to
)

func (m model) Init() tea.Cmd { return again() }

func again() tea.Cmd { return tea.Tick(every, func(time.Time) tea.Msg { return tick{} }) }

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		m.view = m.terminal.stage.View()
		m.terminal.mu.Lock()
		m.progress = clean(m.terminal.step)
		m.terminal.mu.Unlock()
		return m, again()
	case answer:
		m.said = string(msg)
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m model) key(key string) (tea.Model, tea.Cmd) {
	n := len(m.view.Strategies)
	switch {
	case key == "q" || key == "ctrl+c":
		m.terminal.stage.End()
		return m, tea.Quit
	case n == 0:
	case key == "tab" || key == "down" || key == "right" || key == "j":
		m.chosen = (m.chosen + 1) % n
	case key == "shift+tab" || key == "up" || key == "left" || key == "k":
		m.chosen = (m.chosen + n - 1) % n
	case len(key) == 1 && key[0] >= '1' && key[0] <= '9':
		st := m.view.Strategies[m.chosen]
		if i := int(key[0] - '1'); i < len(st.Actions) {
			o := st.Actions[i]
			if o.Off != "" {
				m.said = o.Text + " is off: " + o.Off
				return m, nil
			}
			m.said = st.Name + ": " + o.Text
			return m, m.do(st.Name, o)
		}
	}
	return m, nil
}

// do makes a change beside the program, which goes on drawing.
func (m model) do(name string, o stage.Offer) tea.Cmd {
	return func() tea.Msg {
		err := m.terminal.stage.Do(m.ctx, name, o.Name)
		if err != nil && !errors.Is(err, context.Canceled) {
			return answer(err.Error())
		}
		return answer(name + ": done: " + o.Text)
	}
}

func (m model) View() tea.View {
	v := tea.NewView(m.frame(m.view))
	v.AltScreen = true
	v.WindowTitle = "grpc-lb"
	return v
}
