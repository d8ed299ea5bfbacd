package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// Nothing is made on somebody else's cluster without a yes: on a terminal it is
// asked for, without one the error says how to give it.
func TestConfirm(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		noTerminal   bool
		wantCode     int
		want         string
	}{
		{name: "yes", answer: "y\n"},
		{name: "Yes_in_words", answer: " YES \n"},
		{name: "return", answer: "\n", wantCode: exitNoCluster, want: "nothing was done"},
		{name: "no", answer: "n\n", wantCode: exitNoCluster, want: `"n"`},
		{name: "end_of_input", wantCode: exitNoCluster, want: "nothing was done"},
		{name: "no_terminal", answer: "y\n", noTerminal: true, wantCode: exitUsage, want: "give --yes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked strings.Builder
			err := confirm(strings.NewReader(test.answer), &asked, !test.noTerminal, "it creates a")
			if test.wantCode == 0 {
				if err != nil || !strings.Contains(asked.String(), "it creates a") {
					t.Errorf("confirm = %v after %q, want none after what it is about", err, asked.String())
				}
				return
			}
			e, ok := errors.AsType[exitError](err)
			if !ok || e.code != test.wantCode || !strings.Contains(err.Error(), test.want) {
				t.Errorf("confirm = %v, want code %d and %q", err, test.wantCode, test.want)
			}
		})
	}
}

// The question names everything that a run changes.
func TestAnnounced(t *testing.T) {
	registry, err := image.ParseRegistry("ghcr.io/me/lab")
	if err != nil {
		t.Fatal(err)
	}
	o := runOptions{}
	if got, want := o.announced([]string{"a", "b"}, nil), " creates the namespaces a, b and deletes them at its end"; got != want {
		t.Errorf("announced = %q, want %q", got, want)
	}
	o = runOptions{keep: true, context: contextOptions{push: true, at: &registry}}
	want := " deletes what an earlier run left, b, pushes images to ghcr.io/me/lab, creates the namespaces a, b and leaves them"
	if got := o.announced([]string{"a", "b"}, []string{"b"}); got != want {
		t.Errorf("announced = %q, want %q", got, want)
	}
}
