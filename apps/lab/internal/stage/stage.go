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
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/timeline"
)

const (
	// Shown is how much of the past a timeline has.
	Shown = 90 * time.Second
	// trailing is the part at the end for which not all clients have told their calls.
	// Each client tells them once a second.
	trailing = time.Second
	// ahead bounds how far this machine's clock is taken to be ahead of the last count: a
	// cluster of others can have another clock.
	ahead = 3 * time.Second
	// silence is how long no client may tell of its calls before that is shown.
	silence = 5 * time.Second
	// actionTime is what asking for a change may take.
	actionTime = 15 * time.Second
	// journalled is how many entries of the journal are shown, marked how many marks.
	journalled = 30
	marked     = 4
)

var (
	// ErrUnknown says that no change has that name.
	ErrUnknown = errors.New("no change has that name")
	// ErrNotRunning says that a strategy has not begun, has ended, or is not known.
	ErrNotRunning = errors.New("this strategy does not run")
	// ErrOff says that the rights or the cluster do not allow an action.
	ErrOff = errors.New("it is off")
)

// Stage shows strategies and takes requests to change them.
type Stage struct {
	mu      sync.Mutex
	order   []string
	actors  map[string]*actor
	journal []report.Entry
	done    chan struct{}
	lasting map[string]*lasting // the changes in force
	over    bool                // no change is made any more

	changing sync.Mutex // held while what lasts begins or ends
	undone   error      // what could not be undone at the end, guarded by changing
}

// actor is a strategy that has begun, or that cannot be shown.
type actor struct {
	env    *runner.Environment // nil if it cannot be shown
	marks  []report.Entry
	ended  bool
	reason string            // why it cannot be shown
	off    map[string]string // by action, why it cannot be made
	// told is up to when the clients have told their calls, by the cluster's clock, and
	// heard when that was seen, by this machine's.
	told, heard time.Time
}

// New returns a stage for strategies, in this order. They begin one by one.
func New(strategies []string) *Stage {
	return &Stage{order: slices.Clone(strategies), actors: map[string]*actor{}, lasting: map[string]*lasting{}, done: make(chan struct{})}
}

// Watch shows a strategy until the context ends or somebody ends it all, and then undoes
// what lasts. It is a [runner.Listener]'s Live.
func (s *Stage) Watch(ctx context.Context, env *runner.Environment) error {
	off, err := offOf(ctx, env)
	if err != nil {
		s.note("%s: it is not known which changes the rights allow: %v", env.Strategy.Name, err)
	}
	a := &actor{env: env, off: off}
	s.mu.Lock()
	s.actors[env.Strategy.Name] = a
	s.mu.Unlock()
	s.note("%s runs", env.Strategy.Name)
	defer func() {
		s.mu.Lock()
		a.ended = true
		s.mu.Unlock()
		s.undoAll(context.WithoutCancel(ctx))
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
	// Silent says for how long no client has told of its calls; empty while they do.
	Silent string
	// Counted is up to when all clients have told their calls.
	Counted time.Time
	// Marks are the changes in that time, the oldest first.
	Marks []report.Entry
	// Actions can be asked for while it runs.
	Actions []Offer
	// InForce says what lasts, of this strategy or of the whole cluster.
	InForce []string
}

// View returns what is seen now.
func (s *Stage) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropOver()
	v := View{Journal: slices.Clone(s.journal[max(0, len(s.journal)-journalled):])}
	slices.Reverse(v.Journal)
	for _, name := range s.order {
		seen := s.actors[name].view(name)
		seen.Actions, seen.InForce = s.offers(name)
		v.Strategies = append(v.Strategies, seen)
	}
	return v
}

func (a *actor) view(name string) Strategy {
	v := Strategy{Name: name}
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
	if !t.End().Equal(a.told) {
		a.told, a.heard = t.End(), time.Now()
	}
	if silent := time.Since(a.heard); v.Running && silent > silence {
		v.Silent = fmt.Sprintf("no log of a client came for %.0f s: its node or the cluster is out of reach", silent.Seconds())
	}
	for _, m := range a.marks {
		if m.Time.After(t.Start) {
			v.Marks = append(v.Marks, m)
		}
	}
	v.Marks = v.Marks[max(0, len(v.Marks)-marked):]
	until := t.End()
	if now := time.Now(); v.Running && now.After(until) && now.Sub(until) < ahead {
		until = now // new pods and first calls are seen before they are counted
	}
	v.Counted = t.End().Add(-trailing)
	v.Timeline = new(t.Growing(v.Counted, until).Between(t.Start, until))
	return v
}
