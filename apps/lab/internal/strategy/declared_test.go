package strategy_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

var update = flag.Bool("update", false, "write testdata")

// Every name is given once, and a number to one sentence only. Every strategy has
// a claim of its own beside those that are made about all.
func TestAll(t *testing.T) {
	names, orders, texts := map[string]bool{}, map[int]string{}, map[int]string{}
	all := strategy.All()
	for _, s := range all {
		if names[s.Name] || orders[s.Order] != "" {
			t.Errorf("strategy %s or its order %d is declared twice", s.Name, s.Order)
		}
		names[s.Name], orders[s.Order] = true, s.Name
		own := 0
		for _, c := range s.Claims {
			if text, known := texts[c.ID]; known && text != c.Text {
				t.Errorf("claim %d says %q and %q", c.ID, text, c.Text)
			}
			texts[c.ID] = c.Text
			if !slices.ContainsFunc(all, func(other runner.Strategy) bool {
				return !slices.ContainsFunc(other.Claims, func(o runner.Claim) bool { return o.ID == c.ID })
			}) {
				continue // it is made about all
			}
			own++
		}
		if own == 0 {
			t.Errorf("strategy %s has no claim of its own", s.Name)
		}
		made := map[string]bool{}
		for _, e := range s.Experiments {
			if made[e.Name] {
				t.Errorf("experiment %s is made twice with %s", e.Name, s.Name)
			}
			made[e.Name] = true
		}
	}
}

// An experiment on request has a name and numbers of its own, asks a question, and is made
// with strategies that exist.
func TestOnRequest(t *testing.T) {
	taken := map[int]bool{}
	names, known := map[string]bool{}, map[string]bool{}
	for _, s := range strategy.All() {
		known[s.Name] = true
		for _, c := range s.Claims {
			taken[c.ID] = true
		}
		for _, e := range s.Experiments {
			names[e.Name] = true
		}
	}
	for _, a := range strategy.OnRequest() {
		if names[a.Name] {
			t.Errorf("experiment %s is declared twice", a.Name)
		}
		names[a.Name] = true
		if !strings.HasSuffix(a.Question, "?") || len(a.Claims) == 0 {
			t.Errorf("experiment %s asks %q and has %d claims: expected a question and a claim", a.Name, a.Question, len(a.Claims))
		}
		for _, c := range a.Claims {
			if taken[c.ID] {
				t.Errorf("claim %d of %s has a number that is taken", c.ID, a.Name)
			}
			taken[c.ID] = true
			for _, name := range c.Strategies {
				if !known[name] {
					t.Errorf("claim %d is about %q, which is no strategy", c.ID, name)
				}
			}
		}
	}
}

// A run that is asked for an experiment makes no other, and judges its claims alone.
func TestAsking(t *testing.T) {
	some, oneByOne, err := strategy.Asking(strategy.All(), []string{strategy.ScaleZero})
	if err != nil || oneByOne {
		t.Fatalf("one by one %t, error %v: expected neither", oneByOne, err)
	}
	var names []string
	for _, s := range some {
		names = append(names, s.Name)
		if len(s.Experiments) != 1 || s.Experiments[0].Name != strategy.ScaleZero || len(s.Claims) != 1 || s.Preflight != nil {
			t.Errorf("%s makes %d experiments and judges %d claims: expected %s and one claim", s.Name, len(s.Experiments), len(s.Claims), strategy.ScaleZero)
		}
	}
	if want := []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"}; !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(want))) {
		t.Errorf("it is made with %v, expected %v", names, want)
	}
	if _, _, err := strategy.Asking(strategy.All(), []string{"nope"}); err == nil || !strings.Contains(err.Error(), `experiment "nope" is not known: expected one of `) {
		t.Errorf("error %v: expected one that names the experiments", err)
	}
}

// An experiment about certificates is made with the variants that have them, after all that
// is usual, and judges the usual claims too. Only a run that is asked for it considers them.
func TestAskingTLS(t *testing.T) {
	repository := manifesttest.Checkout(t)
	candidates, err := strategy.Candidates(repository, []string{strategy.TLS})
	if err != nil {
		t.Fatal(err)
	}
	named, err := strategy.Named(repository, candidates)
	if err != nil {
		t.Fatal(err)
	}
	some, _, err := strategy.Asking(named, []string{strategy.TLS})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range some {
		names = append(names, s.Name)
		i := slices.IndexFunc(strategy.All(), func(other runner.Strategy) bool { return other.Name == s.Follows })
		if i < 0 || !s.TLS {
			t.Errorf("%s follows %q and has certificates: %t", s.Name, s.Follows, s.TLS)
			continue
		}
		followed := strategy.All()[i]
		if len(s.Experiments) != len(followed.Experiments)+1 || s.Experiments[len(s.Experiments)-1].Name != strategy.TLS || len(s.Claims) <= len(followed.Claims) {
			t.Errorf("%s makes %d experiments and judges %d claims: expected those of %s and more", s.Name, len(s.Experiments), len(s.Claims), s.Follows)
		}
	}
	want := []string{"l4-tls", "dns-tls", "k8s-api-tls", "envoy-tls"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("it is made with (-want +got):\n%s", diff)
	}
	for _, a := range strategy.OnRequest() {
		if a.Name == strategy.TLS {
			if diff := cmp.Diff(want, a.Concerned()); diff != "" {
				t.Errorf("the list of experiments says (-want +got):\n%s", diff)
			}
		}
	}
	if unasked, err := strategy.Candidates(repository, []string{strategy.Stream}); err != nil || slices.Contains(unasked, "k8s-api-tls") {
		t.Errorf("without %s there is among the candidates k8s-api-tls: %v (%v)", strategy.TLS, unasked, err)
	}
}

// What is claimed is printed as it stands in testdata, for a cluster whose DNS
// trails by 5 s and 2 s.
func TestSentences(t *testing.T) {
	var b strings.Builder
	for _, s := range strategy.All() {
		fmt.Fprintln(&b, s.Name)
		for _, c := range s.Claims {
			got := c.Judge(observe.NewFacts(observe.Subject{Strategy: s.Name, DNS: observe.DNS{TTL: 5 * time.Second, Cache: 2 * time.Second}}), observe.Reason{Text: "not here"})
			fmt.Fprintf(&b, "  %d %s\n     limit: %s\n", got.ID, got.Text, got.Limit)
			if got.Goal != "" {
				fmt.Fprintf(&b, "     goal: %s\n", got.Goal)
			}
		}
	}
	for _, a := range strategy.OnRequest() {
		fmt.Fprintf(&b, "on request: %s\n", a.Name)
		for _, c := range a.Claims {
			got := c.Judge(observe.NewFacts(observe.Subject{DNS: observe.DNS{TTL: 5 * time.Second, Cache: 2 * time.Second}}), observe.Reason{Text: "not here"})
			fmt.Fprintf(&b, "  %d %s\n     limit: %s\n     about: %s\n", got.ID, got.Text, got.Limit, strings.Join(c.Strategies, ", "))
		}
	}
	const golden = "testdata/claims.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("claims (-want +got), `go generate ./apps/lab/...` writes it:\n%s", diff)
	}
}
