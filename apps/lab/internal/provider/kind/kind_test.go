package kind_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

func TestMain(m *testing.M) {
	if options := os.Getenv(helperEnv); options != "" {
		os.Exit(helper(options))
	}
	goleak.VerifyTestMain(m)
}

// A cluster is created once and found again, every node gets every image, and
// deleting it leaves no container, no network and no file.
func TestLife(t *testing.T) {
	f, o := newFake(t)
	for range 2 {
		c, err := f.fake().Up(t.Context(), o)
		if err != nil || c.Kind() != "kind" || c.Kubeconfig() != o.Kubeconfig {
			t.Fatalf("Up = %v, %v", c, err)
		}
		if diff := cmp.Diff([]cluster.NodeStatus{{Name: "one", Container: "one"}, {Name: "two", Container: "two"}}, c.Status().Nodes); diff != "" {
			t.Errorf("nodes (-want +got):\n%s", diff)
		}
	}
	if made := f.noted("create", "pull"); len(made) != 2 {
		t.Errorf("calls %q, want one pull and one creation", made)
	}
	c, err := f.fake().Find(t.Context(), o)
	if err != nil || c == nil {
		t.Fatalf("Find = %v, %v, want the cluster", c, err)
	}
	var archives []string
	for _, name := range []string{"a", "b"} {
		archive := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(archive, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		archives = append(archives, archive)
	}
	if err := c.LoadImages(t.Context(), archives...); err != nil {
		t.Fatal(err)
	}
	loaded := f.noted("one", "two")
	slices.Sort(loaded)
	if diff := cmp.Diff([]string{"one gets a", "one gets b", "two gets a", "two gets b"}, loaded); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if err := f.fake().Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.wantNothing(t)
	if c, err := f.fake().Find(t.Context(), o); c != nil || err != nil {
		t.Errorf("Find = %v, %v after Down, want none", c, err)
	}
}

// An image that Docker has is not pulled; one that it cannot have is told by
// ErrPull, before anything is made.
func TestPull(t *testing.T) {
	t.Run("there", func(t *testing.T) {
		f, o := newFake(t)
		f.hasImage = true
		if _, err := f.fake().Up(t.Context(), o); err != nil || len(f.noted("pull")) > 0 {
			t.Errorf("Up = %v with %q, want no pull", err, f.noted("pull"))
		}
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, o := newFake(t)
			f.pullErr = errors.New("docker pull: no such host")
			_, err := f.fake().Up(t.Context(), o)
			if !errors.Is(err, kind.ErrPull) || !strings.Contains(err.Error(), o.NodeImage) || !strings.Contains(err.Error(), "no such host") {
				t.Errorf("Up = %v, want ErrPull, the image and the reason", err)
			}
			if made := f.noted("create", "run"); len(made) > 0 {
				t.Errorf("calls %q, want nothing made", made)
			}
			f.wantNothing(t)
		})
	})
}

// A creation that fails says why in the words of the program that failed and of
// the kubelet, collects the nodes' logs while there are nodes, and leaves nothing.
func TestUpFails(t *testing.T) {
	failed := &kindexec.RunError{Command: []string{"docker", "run", "--name"}, Output: []byte("docker: Error response from daemon: no space left.\nSee 'docker run --help'.\n"), Inner: errors.New("exit status 125")}
	for _, test := range []struct {
		name  string
		fail  func(*fakeDocker)
		wants []string
	}{
		{name: "creating", fail: func(f *fakeDocker) { f.created = func() error { f.add("one"); return failed } }, wants: []string{"create the kind cluster", "no space left"}},
		{name: "waiting", fail: func(f *fakeDocker) {
			f.ready = func(context.Context) error { return errors.New("node one is not ready: no CNI") }
		}, wants: []string{"wait for nodes and DNS", "node one is not ready: no CNI"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, o := newFake(t)
				test.fail(f)
				_, err := f.fake().Up(t.Context(), o)
				if err == nil || strings.Contains(err.Error(), "--help") || strings.Contains(err.Error(), "--name") {
					t.Fatalf("Up = %v, want why and no hints", err)
				}
				for _, want := range append(test.wants, "the kubelet of grpc-lb-test-control-plane says: no cgroup v1", "logs: "+o.Logs) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("Up = %v, want %q", err, want)
					}
				}
				if logs := f.noted("logs"); len(logs) != 1 || logs[0] == "logs with 0 containers" {
					t.Errorf("calls %q, want logs collected once, before the deletion", logs)
				}
				f.wantNothing(t)
			})
		})
	}
	t.Run("nodes", func(t *testing.T) {
		f, o := newFake(t)
		o.Nodes = 0
		if _, err := f.fake().Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "0 nodes: expected 1 to 9") {
			t.Errorf("Up = %v, want the number of nodes", err)
		}
	})
}

// An interrupt, in any phase, leaves nothing of what the library makes: neither
// what is there, nor what appears while it goes on, nor what a `docker run` of it
// makes when it has returned already.
func TestUpInterrupted(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*fakeDocker)
	}{
		{name: "library_hangs_until_its_node_is_gone", set: func(f *fakeDocker) {
			f.created = func() error {
				f.add("one")
				for len(f.left()) > 0 {
					time.Sleep(time.Second)
				}
				return errors.New("the node is gone")
			}
		}},
		{name: "library_makes_more_meanwhile", set: func(f *fakeDocker) {
			f.created = func() error {
				for _, name := range []string{"one", "two", "three"} {
					f.add(name)
					time.Sleep(4 * time.Second)
				}
				return errors.New("a node is gone")
			}
		}},
		{name: "a_container_appears_late", set: func(f *fakeDocker) {
			f.created = func() error {
				time.AfterFunc(kind.Settle-time.Millisecond+2*short, func() { f.add("late") })
				time.Sleep(2 * short)
				return errors.New("docker run: killed")
			}
		}},
		{name: "waiting", set: func(f *fakeDocker) {
			f.ready = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, o := newFake(t)
				test.set(f)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(short, func() { cancel(errors.New("interrupted by the test")) })
				_, err := f.fake().Up(ctx, o)
				if err == nil || !strings.Contains(err.Error(), "interrupted by the test") || strings.Contains(err.Error(), "deleted") {
					t.Errorf("Up = %v, want the cause alone", err)
				}
				if logs := f.noted("logs"); len(logs) > 0 {
					t.Errorf("calls %q, want no time spent on logs", logs)
				}
				time.Sleep(time.Minute)
				f.wantNothing(t)
			})
		})
	}
}

// A deletion that fails is told beside the interrupt, ends in bounded time, and
// says what Docker still has; so does one whose library never returns.
func TestUpInterruptedCannotDelete(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*fakeDocker)
		want []string
	}{
		{name: "rm_fails", set: func(f *fakeDocker) { f.rmErr = errors.New("docker rm: device or resource busy") }, want: []string{"device or resource busy", `["one"]`}},
		{name: "daemon_dies", set: func(f *fakeDocker) {
			time.AfterFunc(short, f.die)
		}, want: []string{"cannot connect"}},
		{name: "library_hangs", set: func(*fakeDocker) {}, want: []string{"not in 2m0s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, o := newFake(t)
				forever := make(chan struct{})
				defer close(forever)
				f.created = func() error { f.add("one"); <-forever; return nil }
				test.set(f)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(short, func() { cancel(errors.New("interrupted by the test")) })
				_, err := f.fake().Up(ctx, o)
				for _, want := range append(test.want, "interrupted by the test", "is not deleted", "run `lab down`") {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Up = %v, want %q", err, want)
					}
				}
			})
		})
	}
}

// What a lab left that was killed is deleted by the next `lab down`, also what an
// orphan of it makes meanwhile, and by the next creation. Without Docker that is
// told; where the lab never began a cluster there is nothing to tell.
func TestKilled(t *testing.T) {
	killed := func(t *testing.T, f *fakeDocker, o kind.Options) {
		t.Helper()
		f.created = func() error { f.add("one"); panic("killed") }
		defer func() {
			if recover() == nil {
				t.Error("the lab was not killed")
			}
			f.created = nil
		}()
		kind.Killed(t.Context(), f.fake(), o)
	}
	t.Run("down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, o := newFake(t)
			killed(t, f, o)
			if c, err := f.fake().Find(t.Context(), o); c != nil || err != nil {
				t.Errorf("Find = %v, %v, want none: it is not complete", c, err)
			}
			time.AfterFunc(short, func() { f.add("late") })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := f.fake().Down(ctx, o); err != nil {
				t.Error(err)
			}
			f.wantNothing(t)
		})
	})
	t.Run("up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, o := newFake(t)
			killed(t, f, o)
			c, err := f.fake().Up(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]cluster.NodeStatus{{Name: "one", Container: "one"}, {Name: "two", Container: "two"}}, c.Status().Nodes); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("docker_is_gone", func(t *testing.T) {
		f, o := newFake(t)
		killed(t, f, o)
		f.die()
		if err := f.fake().Down(t.Context(), o); err == nil || !strings.Contains(err.Error(), "start Docker") {
			t.Errorf("Down = %v, want to start Docker", err)
		}
	})
	t.Run("never_begun", func(t *testing.T) {
		f, o := newFake(t)
		f.die()
		if err := f.fake().Down(t.Context(), o); err != nil {
			t.Errorf("Down = %v, want nothing to do", err)
		}
	})
	t.Run("files_are_gone", func(t *testing.T) {
		f, o := newFake(t)
		f.add("one")
		f.network = false
		if err := f.fake().Down(t.Context(), o); err != nil {
			t.Error(err)
		}
		f.wantNothing(t)
	})
}

// A network of kind that was there before stays.
func TestNetworkOfOthers(t *testing.T) {
	f, o := newFake(t)
	f.network = true
	if _, err := f.fake().Up(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := f.fake().Down(t.Context(), o); err != nil || !f.network {
		t.Errorf("Down = %v, network %v, want it to stay", err, f.network)
	}
}

// An image that cannot be loaded names node and image; an interrupt ends loading.
func TestLoadImagesFails(t *testing.T) {
	f, o := newFake(t)
	c, err := f.fake().Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.loadErr = errors.New("ctr failed")
	if err := c.LoadImages(t.Context(), archive); err == nil || !strings.Contains(err.Error(), "a.tar") || !strings.Contains(err.Error(), "ctr failed") {
		t.Errorf("LoadImages = %v, want the archive and the reason", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted by the test"))
	if err := c.LoadImages(ctx, archive); err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
		t.Errorf("LoadImages = %v, want the cause", err)
	}
}
