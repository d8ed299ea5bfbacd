package experiment_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// deploymentOf is a Deployment with one container.
func deploymentOf(container string, args ...string) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Name = container
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: container, Args: args}}
	return d
}

// The age is the one that the servers were told, in whatever unit, and none where
// they were not told any.
func TestConnectionAge(t *testing.T) {
	for _, test := range []struct {
		name    string
		servers *appsv1.Deployment
		want    time.Duration
		wantErr string // a part, "" for none
	}{
		{name: "told", servers: deploymentOf("echo-server", "--port=8080", "--max-connection-age=90s"), want: 90 * time.Second},
		{name: "in_minutes", servers: deploymentOf("echo-server", "--max-connection-age=1m30s"), want: 90 * time.Second},
		{name: "not_told", servers: deploymentOf("echo-server", "--port=8080", "--max-connection-age-grace=5s")},
		{name: "beside_a_sidecar", servers: func() *appsv1.Deployment {
			d := deploymentOf("echo-server", "--max-connection-age=10s")
			d.Spec.Template.Spec.Containers = slices.Insert(d.Spec.Template.Spec.Containers, 0, corev1.Container{Name: "proxy", Args: []string{"--max-connection-age=1s"}})
			return d
		}(), want: 10 * time.Second},
		{name: "no_duration", servers: deploymentOf("echo-server", "--max-connection-age=ten"), wantErr: "ten"},
		{name: "no_server", servers: func() *appsv1.Deployment {
			d := deploymentOf("another")
			d.Name = "echo-server"
			return d
		}(), wantErr: "no container"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := experiment.ConnectionAge(test.servers)
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			if got != test.want {
				t.Errorf("age %s, want %s", got, test.want)
			}
		})
	}
}

// Of all overlays only the variants that say so let connections end.
func TestConnectionAgeOfEveryOverlay(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range experiment.Strategies {
		rendered, err := repository.Render(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := manifest.Unstructured(rendered)
		if err != nil {
			t.Fatal(err)
		}
		servers, err := experiment.Deployment(objects, "echo-server")
		if err != nil {
			t.Fatal(err)
		}
		age, err := experiment.ConnectionAge(servers)
		if ends := strings.HasSuffix(s.Name, "-max-age"); err != nil || (age > 0) != ends {
			t.Errorf("connections of %s end after %s, error %v, want an end: %v", s.Name, age, err, ends)
		}
	}
}

// New pods must be seen within some ages, and where clients learn of servers
// from DNS no sooner than it can tell and one connection has ended.
func TestAgedLimit(t *testing.T) {
	for _, test := range []struct {
		name, strategy string
		age            time.Duration
		want           time.Duration
	}{
		{name: "chance", strategy: "l4-max-age", age: 10 * time.Second, want: time.Minute},
		{name: "names_of_long_ages", strategy: "dns-max-age", age: 10 * time.Second, want: time.Minute},
		{name: "names_of_short_ages", strategy: "dns-max-age", age: time.Second, want: 41*time.Second + 100*time.Millisecond}, // 30 s, TTL, 5 s, 1.1 ages
		{name: "chance_of_short_ages", strategy: "l4-max-age", age: time.Second, want: 6 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := experiment.NewFacts(test.strategy, "x", dns)
			f.ConnectionAge = test.age
			if got := experiment.AgedLimit(f); got != test.want {
				t.Errorf("limit %s, want %s", got, test.want)
			}
		})
	}
}

// A move is a window that another server answered most of than the one before;
// windows without an answer and even ones are none.
func TestMoves(t *testing.T) {
	window := func(opened int64, servers map[string]int64) calllog.Window {
		return calllog.Window{Opened: opened, Servers: servers}
	}
	for _, test := range []struct {
		name          string
		windows       []calllog.Window
		opened, moved int64
	}{
		{name: "nothing"},
		{name: "stays", windows: []calllog.Window{window(1, map[string]int64{"s1": 50}), window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s1": 50})}, opened: 2},
		{name: "goes", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s1": 10, "s2": 40}), window(0, map[string]int64{"s2": 50})}, opened: 1, moved: 1},
		{name: "goes_and_returns", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(1, map[string]int64{"s2": 50}), window(1, map[string]int64{"s1": 50})}, opened: 2, moved: 2},
		{name: "is_silent_and_stays", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(0, nil), window(1, map[string]int64{"s1": 50})}, opened: 1},
		{name: "is_silent_and_goes", windows: []calllog.Window{window(0, map[string]int64{"s1": 50}), window(0, nil), window(1, map[string]int64{"s2": 50})}, opened: 1, moved: 1},
		{name: "half_and_half", windows: []calllog.Window{window(0, map[string]int64{"s2": 50}), window(1, map[string]int64{"s1": 25, "s2": 25}), window(0, map[string]int64{"s2": 50})}, opened: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := experiment.NewFacts("l4-max-age", "x", dns)
			for i := range test.windows {
				test.windows[i].Start, test.windows[i].End = at(float64(i)), at(float64(i+1))
			}
			f.Clients["c1"] = &experiment.Client{Windows: test.windows}
			f.Clients["c2"] = &experiment.Client{Windows: []calllog.Window{{Start: at(0), End: at(1), Opened: 7}}} // not asked for
			if opened, moved := experiment.Moves(f, at(0), at(9), "c1"); opened != test.opened || moved != test.moved {
				t.Errorf("%d connections and %d moves, want %d and %d", opened, moved, test.opened, test.moved)
			}
		})
	}
}

// Chance gives at least that many moves, and one is always wanted.
func TestLeastMoves(t *testing.T) {
	for _, test := range []struct {
		name    string
		opened  int64
		servers int
		want    int64
	}{
		{name: "none_opened", opened: 0, servers: 3, want: 1},
		{name: "few_opened", opened: 10, servers: 3, want: 1},
		{name: "many_opened", opened: 100, servers: 3, want: 44},      // 66.7 - 5 x 4.71
		{name: "of_two_servers", opened: 1000, servers: 2, want: 421}, // 500 - 5 x 15.8
		{name: "of_one_server", opened: 1000, servers: 1, want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := experiment.LeastMoves(test.opened, test.servers); got != test.want {
				t.Errorf("%d of %d connections must move, want %d", got, test.opened, test.want)
			}
		})
	}
}

// What ending connections costs is told of the scale-out of a strategy that does,
// and of no other.
func TestReconnects(t *testing.T) {
	const text = "connections that end by age fail no call: "
	lost := func() *experiment.Facts {
		f := aged()
		f.Clients["c2"].Windows[20].Failures = map[string]int64{"Unavailable": 2}
		f.Clients["c2"].Windows[5].Failures = map[string]int64{"Unavailable": 9} // before it
		return f
	}
	silent := func() *experiment.Facts {
		f := aged()
		for _, c := range f.Clients {
			c.Windows = nil
		}
		return f
	}
	for _, test := range []struct {
		name  string
		scene func() *experiment.Facts
		want  []string
	}{
		{name: "none_is_lost", scene: aged, want: []string{"yes: " + text + "4.0 new connections a minute and client, 0 of 2250 calls failed"}},
		{name: "some_are_lost", scene: lost, want: []string{"no: " + text + "4.0 new connections a minute and client, 2 of 2250 calls failed"}},
		{name: "no_call", scene: silent, want: []string{"no: " + text + "0.0 new connections a minute and client, 0 of 0 calls failed"}},
		{name: "connections_that_stay", scene: pinned},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, found := range experiment.Findings(experiment.ScaleOut, test.scene()) {
				if strings.Contains(found, "end by age") {
					got = append(got, found)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
