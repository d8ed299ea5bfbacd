package main

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// Tests that a quantile is a sample, and that the highest is that of a few.
func TestQuantile(t *testing.T) {
	list := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(q)(list); got != want {
			t.Errorf("quantile(%v)(%v) = %v, want %v", q, list, got, want)
		}
	}
}

// Tests that a note goes before numbers, and that nothing measured is a dash.
func TestFigure(t *testing.T) {
	f := figure{quantity: closing, summary: quantile(0.5)}
	s := samples{numbers: make(map[quantity][]float64), notes: make(map[quantity]string)}
	if got, want := f.of(s), (report.Value{Note: "-"}); got != want {
		t.Errorf("without samples: %v, want %v", got, want)
	}
	s.add(closing, 2)
	if got, want := f.of(s), (report.Value{Number: 2}); got != want {
		t.Errorf("with a sample: %v, want %v", got, want)
	}
	s.note(closing, "> %d", 5)
	if got, want := f.of(s), (report.Value{Note: "> 5"}); got != want {
		t.Errorf("with a note: %v, want %v", got, want)
	}
}

// Tests what is told of a process that died.
func TestCrash(t *testing.T) {
	for stderr, want := range map[string]string{
		"log\npanic: close of closed channel\n\ngoroutine 1": "panic: close of closed channel",
		"fatal error: all goroutines are asleep":             "fatal error: all goroutines are asleep",
		"":                                                   "exit status 1",
	} {
		if got := crash([]byte(stderr), errors.New("exit status 1")); got != want {
			t.Errorf("crash(%q) = %q, want %q", stderr, got, want)
		}
	}
}

// Tests which addresses the stand-in for CoreDNS answers with.
func TestReadyAddrs(t *testing.T) {
	no := false
	unready := slice("b", 80, "10.0.0.3")
	unready.Endpoints[0].Conditions.Ready = &no
	names := slice("c", 80, "example.com")
	names.AddressType = discoveryv1.AddressTypeFQDN
	got := readyAddrs([]discoveryv1.EndpointSlice{*slice("a", 80, "10.0.0.1", "10.0.0.2"), *slice("a2", 80, "10.0.0.2"), *unready, *names})
	want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("readyAddrs() (-want +got):\n%s", diff)
	}
}

// Tests that no two pods of an experiment have one address.
func TestAddresses_Distinct(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range addresses(0, 10000) {
		seen[a] = true
	}
	for i := range 1000 {
		seen[probeAt(i)] = true
	}
	if got, want := len(seen), 11000; got != want {
		t.Errorf("%d addresses, want %d", got, want)
	}
}

// Tests that each figure is of one experiment, and each quantity of a figure.
func TestFigures_Measured(t *testing.T) {
	taken, shown := make(map[quantity]int), make(map[quantity]bool)
	for _, e := range experiments {
		for _, q := range e.of {
			taken[q]++
		}
	}
	for _, f := range figures {
		shown[f.quantity] = true
		if taken[f.quantity] != 1 {
			t.Errorf("%q is taken by %d experiments, want 1", f.name, taken[f.quantity])
		}
	}
	for q := range taken {
		if !shown[q] {
			t.Errorf("quantity %q is in no figure", q)
		}
	}
}

// Tests which command lines are refused, and that a part can be chosen.
func TestParse(t *testing.T) {
	for line, ok := range map[string]bool{
		"": true, "-run endless -experiments list -keep": true,
		"-keep -o=": false, "-run (": false, "-experiments (": false, "-peers (": false, "endless": false,
	} {
		if _, err := parse(strings.Fields(line), io.Discard); (err == nil) != ok {
			t.Errorf("parse(%q) = %v, want an error: %t", line, err, !ok)
		}
	}
	o, err := parse([]string{"-experiments", "lost"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if got, want := f.measured(o), f.quantity == lostStart; got != want {
			t.Errorf("%q is measured: %t, want %t", f.name, got, want)
		}
	}
}

// Tests the share of calls that failed.
func TestTally(t *testing.T) {
	for tally, want := range map[Tally]float64{{}: 0, {Made: 4}: 0, {Made: 4, Failed: 1}: 250} {
		if got := tally.perThousand(); got != want {
			t.Errorf("%+v.perThousand() = %v, want %v", tally, got, want)
		}
	}
}
