package runner_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Strategies that meet go on together, again and again; one that leaves, having
// failed or ended, is not waited for.
func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := runner.NewTogether()
		var passed atomic.Int32
		start := time.Now()
		for i := range 3 {
			member := q.Join()
			go func() {
				defer member.Drop()
				for range 2 {
					<-time.After(time.Duration(i+1) * time.Second)
					if i == 1 && passed.Load() > 0 {
						return // fails after the first meeting
					}
					if err := member.Meet(t.Context()); err != nil {
						t.Error(err)
					}
					passed.Add(1)
				}
			}()
		}
		<-time.After(2900 * time.Millisecond)
		if n := passed.Load(); n != 0 {
			t.Errorf("%d passed after %v, want none before the slowest came", n, time.Since(start))
		}
		<-time.After(200 * time.Millisecond)
		synctest.Wait()
		if n := passed.Load(); n != 3 {
			t.Errorf("%d passed after %v, want all 3", n, time.Since(start))
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if n := passed.Load(); n != 5 {
			t.Errorf("%d passed after %v, want 5: two met again without the third", n, time.Since(start))
		}
	})
}

// Strategies meet in the same experiment though one of them fails in the one
// before, wherever it does: it neither goes ahead of the others nor holds them up.
func TestBarrierFailing(t *testing.T) {
	const working = 10 * time.Second
	broken := errors.New("broken")
	for _, test := range []struct {
		name  string
		fails int // which call of hold or observe
	}{
		{name: "before_the_first_meeting", fails: 0},
		{name: "after_the_first_meeting", fails: 1},
		{name: "observing", fails: 2},
		{name: "never", fails: -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := runner.NewTogether()
				start := time.Now()
				var observed [2][]time.Duration
				members := []runner.Member{q.Join(), q.Join()}
				for i := range members {
					go func() {
						defer members[i].Drop()
						a := runner.NewEnvironment(runner.Strategy{Name: "l4"}, nil, &kube.Client{}, observe.NewFacts(observe.Subject{Strategy: "l4"}))
						for round := range 2 {
							calls := 0
							step := func() error {
								calls++
								if i == 0 && round == 0 && calls-1 == test.fails {
									return broken
								}
								return nil
							}
							if err := members[i].Rest(t.Context(), a, round, step, func() error {
								observed[i] = append(observed[i], time.Since(start))
								<-time.After(working)
								return step()
							}); err != nil {
								t.Error(err)
							}
						}
					}()
				}
				<-time.After(3 * working)
				synctest.Wait()
				for i, at := range observed {
					if len(at) == 0 || at[len(at)-1] != working {
						t.Errorf("strategy %d observed at %v, want the second time at %v with the other", i, at, working)
					}
				}
			})
		})
	}
}

// What members do alone they do one after the other, whatever the others' come
// to: a counter without a lock of its own, which the race detector watches.
func TestAlone(t *testing.T) {
	q := runner.NewTogether()
	failed := errors.New("failed")
	count, inside := 0, 0
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := q.Alone(t.Context(), func() error {
				if inside++; inside != 1 {
					t.Errorf("%d are alone", inside)
				}
				runtime.Gosched()
				inside--
				count++
				if i%2 == 0 {
					return failed
				}
				return nil
			})
			if (err != nil) != (i%2 == 0) || err != nil && !errors.Is(err, failed) {
				t.Errorf("member %d: error %v, want what it returned", i, err)
			}
		})
	}
	all.Wait()
	if count != 8 {
		t.Errorf("%d were alone, want each of 8 once", count)
	}
}

// Whose turn comes after the end of the run does nothing any more.
func TestAloneEnds(t *testing.T) {
	q := runner.NewTogether()
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	begun, done := make(chan struct{}), make(chan error)
	go func() {
		done <- q.Alone(ctx, func() error {
			close(begun)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	<-begun
	go func() {
		done <- q.Alone(ctx, func() error {
			t.Error("the second began")
			return nil
		})
	}()
	cancel(interrupted)
	for range 2 {
		if err := <-done; !errors.Is(err, interrupted) {
			t.Errorf("error %v, want %v", err, interrupted)
		}
	}
}

// Few start pods at the same time, the next as soon as one is done, and being
// done twice counts once. The end of the run ends the waiting.
func TestStartPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := runner.NewTogether()
		var now, most, done atomic.Int32
		for range 2*runner.FewAtOnce + 1 {
			go func() {
				ready, err := q.StartPods(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), now.Add(1)))
				<-time.After(time.Second)
				now.Add(-1)
				ready()
				ready()
				done.Add(1)
			}()
		}
		for seconds := range 3 {
			<-time.After(1100*time.Millisecond - time.Duration(seconds)*50*time.Millisecond)
			synctest.Wait()
			if got, want := done.Load(), int32(min((seconds+1)*runner.FewAtOnce, 2*runner.FewAtOnce+1)); got != want {
				t.Errorf("after %d s %d are done, want %d", seconds+1, got, want)
			}
		}
		if most.Load() != runner.FewAtOnce {
			t.Errorf("%d started pods at the same time, want %d", most.Load(), runner.FewAtOnce)
		}

		for range runner.FewAtOnce {
			ready, err := q.StartPods(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer ready()
		}
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(interrupted) })
		if _, err := q.StartPods(ctx); !errors.Is(err, interrupted) {
			t.Errorf("waiting gives %v, want %v", err, interrupted)
		}
	})
}

// The end of the run ends the waiting.
func TestBarrierEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := runner.NewTogether()
		member := q.Join()
		defer member.Drop()
		defer q.Join().Drop()
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(interrupted) })
		if err := member.Meet(ctx); !errors.Is(err, interrupted) {
			t.Errorf("waiting gives %v, want %v", err, interrupted)
		}
	})
}
