package stage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage/stagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin lets strategies run on a cluster until the returned function is called, which waits
// for their ends.
func begin(t *testing.T, on *stagetest.Cluster, names ...string) (s *stage.Stage, interrupt func()) {
	t.Helper()
	s = stage.New(names)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	for _, name := range names {
		env := on.Environment(runner.Strategy{Name: name, Balancer: "the client"}, observe.NewFacts(observe.Subject{Strategy: name, Namespace: "grpc-lb-" + name}))
		go func() {
			_ = s.Watch(ctx, env) // why it ends is not what is tested
			ended <- struct{}{}
		}()
	}
	synctest.Wait()
	return s, func() {
		cancel()
		for range names {
			<-ended
		}
	}
}

// offered returns the offers of a strategy by name: the text of one that can be made,
// and else why it cannot.
func offered(s *stage.Stage, name string) map[string]string {
	all := map[string]string{}
	for _, st := range s.View().Strategies {
		for _, o := range st.Actions {
			if st.Name == name {
				all[o.Name] = o.Text
				if o.Off != "" {
					all[o.Name] = "off: " + o.Off
				}
			}
		}
	}
	return all
}

// What is broken of the whole cluster is in force for every strategy, each can take it
// back, and a second request to break or to mend changes nothing.
func TestWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &stagetest.Cluster{}
		s, interrupt := begin(t, on, "l4", "dns")
		defer interrupt()
		if err := s.Do(t.Context(), "l4", "api-away"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"l4", "dns"} {
			if got := offered(s, name); got["api-back"] == "" || got["api-away"] != "" {
				t.Errorf("%s is offered %v, want to give the API server back", name, got)
			}
		}
		if err := s.Do(t.Context(), "dns", "api-away"); err == nil || !strings.Contains(err.Error(), "in force already") {
			t.Errorf("taking it away twice: %v, want that it is in force", err)
		}
		for range 2 {
			if err := s.Do(t.Context(), "dns", "api-back"); err != nil {
				t.Errorf("giving it back: %v", err)
			}
		}
		if left := on.Broken(); len(left) > 0 {
			t.Errorf("broken: %q, want nothing", left)
		}
		var journal []string
		for _, e := range s.View().Journal {
			journal = append(journal, e.Text)
		}
		want := []string{"the whole cluster: give the API server back", "the whole cluster: take the API server away: no pod reaches the API server; what runs on the nodes does"}
		if diff := cmp.Diff(want, journal[:2]); diff != "" {
			t.Errorf("the journal (-want +got):\n%s", diff)
		}
	})
}

// At the end all is taken back before a strategy's end is told, nothing is broken any
// more, and what could not be taken back is known.
func TestEnd(t *testing.T) {
	for _, test := range []struct {
		name    string
		mendErr error
		want    string
	}{
		{name: "mended"},
		{name: "ended before", mendErr: cluster.ErrEnded, want: "ended before"},
		{name: "not mended", mendErr: errors.New("the node is gone"), want: "api-away was not undone: the node is gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				on := &stagetest.Cluster{MendErr: test.mendErr}
				s, interrupt := begin(t, on, "l4", "dns")
				if err := s.Do(t.Context(), "l4", "api-away"); err != nil {
					t.Error(err)
				}
				interrupt()
				if left := on.Broken(); (len(left) > 0) != (test.mendErr != nil) {
					t.Errorf("broken: %q after the end", left)
				}
				if err := s.Undone(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("Undone = %v, want %q", err, test.want)
				}
				if err := s.Do(t.Context(), "l4", "api-away"); !errors.Is(err, stage.ErrNotRunning) {
					t.Errorf("a change after the end: %v, want ErrNotRunning", err)
				}
			})
		})
	}
}

// What the rights or the cluster do not allow is off, says why, and is refused.
func TestOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &stagetest.Cluster{Lacks: "the nodes are somebody else's", Denied: []string{"pods/portforward", "deployments"}}
		s, interrupt := begin(t, on, "l4")
		defer interrupt()
		want := map[string]string{
			"scale-out": "scale out", "scale-in": "scale in", "delete-pod": "delete the busiest pod",
			"kill": "off: the nodes are somebody else's", "api-away": "off: the nodes are somebody else's", "link-down": "off: the nodes are somebody else's",
			"restart": "off: you may not patch deployments.apps in namespace grpc-lb-l4", "slow": "off: you may not create, get pods/portforward in namespace grpc-lb-l4",
		}
		if diff := cmp.Diff(want, offered(s, "l4")); diff != "" {
			t.Errorf("offers (-want +got):\n%s", diff)
		}
		for name, text := range want {
			if reason, off := strings.CutPrefix(text, "off: "); off {
				if err := s.Do(t.Context(), "l4", name); !errors.Is(err, stage.ErrOff) || !strings.Contains(err.Error(), reason) {
					t.Errorf("%s: %v, want ErrOff and %q", name, err, reason)
				}
			}
		}
	})
}

// When no client is heard any more, that is shown, also where the cluster's clock is another.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &stagetest.Cluster{}
		env := on.Environment(runner.Strategy{Name: "l4"}, observe.NewFacts(observe.Subject{Strategy: "l4"}))
		s := stage.New([]string{"l4"})
		ended := make(chan error)
		go func() { ended <- s.Watch(t.Context(), env) }()
		synctest.Wait()
		told := time.Now().Add(-time.Hour)
		for _, step := range []struct {
			tells bool
			pass  time.Duration
			want  string
		}{{true, 0, ""}, {false, 4 * time.Second, ""}, {false, 3 * time.Second, "no log of a client came for 7 s"}, {true, 0, ""}} {
			if step.tells {
				told = told.Add(time.Second)
				env.Record.Update(func(f *observe.Facts) {
					f.Clients["client"] = &observe.Client{Windows: []calllog.Window{{Start: told.Add(-time.Second), End: told}}}
				})
			}
			time.Sleep(step.pass)
			if got := s.View().Strategies[0].Silent; !strings.Contains(got, step.want) || (got == "") != (step.want == "") {
				t.Errorf("%v after the last view: %q, want %q", step.pass, got, step.want)
			}
		}
		s.End()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := s.View().Strategies[0].Silent; got != "" {
			t.Errorf("after the end: %q, want nothing", got)
		}
	})
}
