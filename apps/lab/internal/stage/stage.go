// Package stage holds strategies that run while people look on: it says what is seen of
// each, makes the changes that are asked for, and keeps the journal. The page of `lab
// watch` and its terminal both show a stage.
package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/timeline"
)

const (
	// Shown is how much of the past a timeline has.
	Shown = 90 * time.Second
	// trailing is the part at the end for which not all clients have told their calls.
	trailing = 2 * time.Second
	// actionTime is what asking for a change may take.
	actionTime = 15 * time.Second
	// journalled is how many entries of the journal are shown, marked how many marks.
	journalled = 30
	marked     = 4
)

// ErrUnknown says that a strategy does not run, or that no action has that name.
var ErrUnknown = errors.New("it does not run, or no action has that name")

// Stage shows strategies and takes requests to change them.
type Stage struct {
	mu      sync.Mutex
	order   []string
	actors  map[string]*actor
	journal []report.Entry
	done    chan struct{}
}

// actor is a strategy that has begun, or that cannot be shown.
type actor struct {
	env    *runner.Environment // nil if it cannot be shown
	marks  []report.Entry
	ended  bool
	reason string // why it cannot be shown
}

// New returns a stage for strategies, in this order. They begin one by one.
func New(strategies []string) *Stage {
	return &Stage{order: slices.Clone(strategies), actors: map[string]*actor{}, done: make(chan struct{})}
}

// Watch shows a strategy until the context ends or somebody ends it all. It is a
// [runner.Listener]'s Live.
func (s *Stage) Watch(ctx context.Context, env *runner.Environment) error {
	a := &actor{env: env}
	s.mu.Lock()
	s.actors[env.Strategy.Name] = a
	s.mu.Unlock()
	s.note("%s runs", env.Strategy.Name)
	defer func() {
		s.mu.Lock()
		a.ended = true
		s.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.done:
		return nil
	}
}

// Failed says why a strategy cannot be shown. It is a [runner.Listener]'s Failed.
func (s *Stage) Failed(name, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.actors[name]; a != nil {
		a.ended = true
		return
	}
	s.actors[name] = &actor{ended: true, reason: reason}
}

// Do makes a change to a strategy; action is the name of one. What it came to is in the
// journal. The error is ErrUnknown, or says why the cluster did not make the change.
func (s *Stage) Do(ctx context.Context, name, action string) error {
	i := slices.IndexFunc(strategy.Actions, func(a strategy.Action) bool { return a.Name == action })
	s.mu.Lock()
	a := s.actors[name]
	runs := a != nil && !a.ended
	s.mu.Unlock()
	if !runs || i < 0 {
		return fmt.Errorf("%s: %s: %w", name, action, ErrUnknown)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, actionTime, errors.New("the cluster did not answer in "+actionTime.String()))
	defer cancel()
	asked, text := time.Now(), strategy.Actions[i].Text
	if err := strategy.Actions[i].Do(ctx, a.env); err != nil {
		s.note("%s: %s: failed: %v", name, text, err)
		return err
	}
	s.mu.Lock()
	a.marks = append(a.marks, report.Entry{Time: asked, Text: text})
	s.mu.Unlock()
	s.note("%s: %s", name, text)
	return nil
}

func (s *Stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)})
}

// Done is closed when somebody has asked to end.
func (s *Stage) Done() <-chan struct{} { return s.done }

// End ends all that is shown.
func (s *Stage) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// View is what is seen at one moment.
type View struct {
	Strategies []Strategy
	// Journal is what was done, the newest entry first.
	Journal []report.Entry
}

// Strategy is what is seen of one.
type Strategy struct {
	Name string
	// Balancer is empty until the strategy has begun.
	Balancer string
	Running  bool
	// Reason says why it cannot be shown.
	Reason string
	// Timeline is who answered lately; nil until a call was seen.
	Timeline *report.Timeline
	// Marks are the changes in that time, the oldest first.
	Marks []report.Entry
	// Actions can be asked for while it runs.
	Actions []strategy.Action
}

// View returns what is seen now.
func (s *Stage) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := View{Journal: slices.Clone(s.journal[max(0, len(s.journal)-journalled):])}
	slices.Reverse(v.Journal)
	for _, name := range s.order {
		v.Strategies = append(v.Strategies, s.actors[name].view(name))
	}
	return v
}

func (a *actor) view(name string) Strategy {
	v := Strategy{Name: name, Actions: strategy.Actions}
	if a == nil {
		return v
	}
	v.Reason = a.reason
	if a.env == nil {
		return v
	}
	v.Balancer, v.Running = a.env.Strategy.Balancer, !a.ended
	var t *report.Timeline
	a.env.Record.Look(func(f *observe.Facts) { t = timeline.Last(f, Shown) })
	if t == nil {
		return v
	}
	for _, m := range a.marks {
		if m.Time.After(t.Start) {
			v.Marks = append(v.Marks, m)
		}
	}
	v.Marks = v.Marks[max(0, len(v.Marks)-marked):]
	v.Timeline = new(t.Between(t.Start, t.End().Add(-trailing)))
	return v
}
