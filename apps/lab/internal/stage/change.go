package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// undoTime is what undoing a change at the end may take.
const undoTime = 30 * time.Second

// Offer is a change that can be asked for now, by its name. What is in force is offered as
// what takes it back.
type Offer struct {
	Name, Text string
	// Whole says that it concerns the whole cluster.
	Whole bool
	// On says that it takes back what is in force.
	On bool
	// Off says why it cannot be made; empty means that it can.
	Off string
}

// lasting is a change in force.
type lasting struct {
	strategy.Action
	of   *actor // who it was asked for
	done strategy.Done
}

// key tells which change of an action is meant: there is one for all strategies of what
// concerns the whole cluster.
func key(name string, a strategy.Action) string {
	if a.Whole {
		return a.Name
	}
	return name + " " + a.Name
}

// offOf says, by action, why the rights or the cluster do not allow it.
func offOf(ctx context.Context, env *runner.Environment) (off map[string]string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, actionTime, errors.New("the API server did not answer in "+actionTime.String()))
	defer cancel()
	off = map[string]string{}
	var all []kube.Right
	rights := map[string][]kube.Right{} // by action
	for _, a := range strategy.Actions {
		if a.Can != nil {
			if err := a.Can(env.Cluster); err != nil {
				off[a.Name] = strings.TrimSuffix(err.Error(), ": "+errors.ErrUnsupported.Error())
			}
		}
		for _, r := range a.Rights {
			rights[a.Name] = append(rights[a.Name], r.In(env.Namespace)...)
		}
		all = append(all, rights[a.Name]...)
	}
	missing, err := env.Kube.Missing(ctx, all...)
	for action, some := range rights {
		lacks := slices.DeleteFunc(some, func(r kube.Right) bool { return !slices.Contains(missing, r) })
		if len(lacks) > 0 {
			off[action] = "you may not " + kube.Describe(lacks...)
		}
	}
	return off, err
}

// offers returns what can be asked of a strategy, and what lasts; s.mu is held.
func (s *Stage) offers(name string) (offers []Offer, inForce []string) {
	for _, a := range strategy.Actions {
		o := Offer{Name: a.Name, Text: a.Text, Whole: a.Whole}
		l := s.lasting[key(name, a)]
		switch actor := s.actors[name]; {
		case actor == nil:
			o.Off = "it has not begun"
		case actor.ended:
			o.Off = "it does not run"
		case l == nil:
			o.Off = actor.off[a.Name]
		}
		if l != nil {
			o.Name, o.Text, o.On = a.Back.Name, a.Back.Text, true
			inForce = append(inForce, l.done.Text)
		}
		offers = append(offers, o)
	}
	return offers, inForce
}

func (l *lasting) text() string {
	text := l.Text
	if l.done.Text != "" {
		text += ": " + l.done.Text
	}
	return text
}

// Do makes a change to a strategy, or takes it back; action is the name of an offer. What
// it came to is in the journal. The error is ErrNotRunning, ErrUnknown or ErrOff, or says
// why the cluster did not make the change.
func (s *Stage) Do(ctx context.Context, name, action string) error {
	i := slices.IndexFunc(strategy.Actions, func(a strategy.Action) bool { return action != "" && (a.Name == action || a.Back.Name == action) })
	s.mu.Lock()
	a := s.actors[name]
	runs := a != nil && !a.ended
	s.mu.Unlock()
	switch {
	case !runs:
		return fmt.Errorf("%q: %w", name, ErrNotRunning)
	case i < 0:
		return fmt.Errorf("%q: %w", action, ErrUnknown)
	}
	wanted := strategy.Actions[i]
	ctx, cancel := context.WithTimeoutCause(ctx, actionTime, errors.New("the cluster did not answer in "+actionTime.String()))
	defer cancel()
	if wanted.Back.Name != "" {
		s.changing.Lock()
		defer s.changing.Unlock()
	}
	if wanted.Back.Name == action {
		return s.takeBack(ctx, key(name, wanted))
	}
	return s.change(ctx, a, wanted)
}

// change makes a change. Who begins one that lasts holds s.changing.
func (s *Stage) change(ctx context.Context, of *actor, a strategy.Action) error {
	name := of.env.Strategy.Name
	k := key(name, a)
	s.mu.Lock()
	s.dropOver()
	off, inForce, over := of.off[a.Name], s.lasting[k] != nil, s.over
	s.mu.Unlock()
	switch {
	case over:
		return fmt.Errorf("%q: %w", name, ErrNotRunning)
	case off != "":
		return fmt.Errorf("%s: %w: %s", a.Text, ErrOff, off)
	case inForce:
		return fmt.Errorf("%s: this is in force already: %q takes it back", a.Text, a.Back.Text)
	}
	asked := time.Now()
	done, err := a.Do(ctx, of.env)
	if err != nil {
		s.note("%s: %s: failed: %v", name, a.Text, err)
		return err
	}
	l := &lasting{a, of, done}
	s.mu.Lock()
	s.mark(l, asked, a.Text)
	if a.Back.Name != "" {
		s.lasting[k] = l
	}
	s.mu.Unlock()
	s.note("%s: %s", l.concerns(), l.text())
	return nil
}

// takeBack undoes what lasts; s.changing is held. What has ended already is undone.
func (s *Stage) takeBack(ctx context.Context, k string) error {
	s.mu.Lock()
	l := s.lasting[k]
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	err := l.done.Undo(ctx)
	if err != nil {
		s.note("%s: %s: failed: %v", l.concerns(), l.Back.Text, err)
	}
	if err != nil && !errors.Is(err, cluster.ErrEnded) {
		return err // it may be in force still
	}
	s.mu.Lock()
	delete(s.lasting, k)
	s.mark(l, time.Now(), l.Back.Text)
	s.mu.Unlock()
	if err == nil {
		s.note("%s: %s", l.concerns(), l.Back.Text)
	}
	return err
}

// undoAll takes all back at the end, once. Nothing is begun afterwards.
func (s *Stage) undoAll(ctx context.Context) {
	s.changing.Lock()
	defer s.changing.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, undoTime, fmt.Errorf("not in %s", undoTime))
	defer cancel()
	s.mu.Lock()
	s.over = true
	keys := observe.Keys(s.lasting)
	// What is broken of the cluster first: undoing the rest may need it.
	whole := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !s.lasting[k].Whole })
	s.mu.Unlock()
	keys = append(whole, keys...)
	for _, k := range keys {
		if err := s.takeBack(ctx, k); err != nil {
			s.undone = errors.Join(s.undone, fmt.Errorf("%s was not undone: %w", k, err))
		}
	}
}

// Undone returns after the end what could not be undone.
func (s *Stage) Undone() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.undone
}

// dropOver forgets what has ended by itself; s.mu is held.
func (s *Stage) dropOver() {
	for k, l := range s.lasting {
		if l.done.Over == nil {
			continue
		}
		over := false
		l.of.env.Record.Look(func(f *observe.Facts) { over = l.done.Over(f) })
		if over {
			delete(s.lasting, k)
			s.journal = append(s.journal, report.Entry{Time: time.Now(), Text: fmt.Sprintf("%s: over, since its pod has ended: %s", l.concerns(), l.text())})
		}
	}
}

// mark puts a change into the pictures that it concerns; s.mu is held.
func (s *Stage) mark(l *lasting, at time.Time, text string) {
	for _, a := range s.actors {
		if a == l.of || l.Whole {
			a.marks = append(a.marks, report.Entry{Time: at, Text: text})
		}
	}
}

// concerns says whom a change concerns.
func (l *lasting) concerns() string {
	if l.Whole {
		return "the whole cluster"
	}
	return l.of.env.Strategy.Name
}
