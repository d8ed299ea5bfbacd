package progress_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrinter(t *testing.T) {
	const erase = "\r\x1b[2K"
	tests := []struct {
		name         string
		total, width int
		work         func(progress.Reporter)
		want         string
	}{
		{
			name: "plain", total: 2,
			work: func(r progress.Reporter) {
				end := r.Step("check the machine")
				time.Sleep(1250 * time.Millisecond)
				end(nil)
				end = r.Step("build etcd v3.7.3")
				time.Sleep(41*time.Second + 300*time.Millisecond)
				end(nil)
			},
			want: "[1/2] check the machine: done (1.3s)\n[2/2] build etcd v3.7.3: done (41s)\n",
		},
		{
			name: "plain details come now and then", total: 1,
			work: func(r progress.Reporter) {
				end := r.Step("build")
				for i := range 50 {
					time.Sleep(time.Second)
					r.Detail("build", fmt.Sprintf("%d of 50 packages", i+1))
				}
				end(nil)
			},
			want: "[1/1] build: 20 of 50 packages (20s so far)\n[1/1] build: 40 of 50 packages (40s so far)\n[1/1] build: done (50s)\n",
		},
		{
			name: "a failure's first line", total: 1,
			work: func(r progress.Reporter) { r.Step("build")(errors.New("exit status 1:\n  ./x.go:3:9: undefined")) },
			want: "[1/1] build: failed: exit status 1: (0s)\n",
		},
		{
			name: "more steps than were told", total: 1,
			work: func(r progress.Reporter) { r.Step("a")(nil); r.Step("b")(nil) },
			want: "[1/1] a: done (0s)\n[2/2] b: done (0s)\n",
		},
		{
			name: "details of no running step", total: 1,
			work: func(r progress.Reporter) {
				r.Detail("a", "early")
				end := r.Step("a")
				end(nil)
				time.Sleep(time.Minute)
				r.Detail("a", "late")
			},
			want: "[1/1] a: done (0s)\n",
		},
		{
			name: "side by side", total: 2,
			work: func(r progress.Reporter) {
				endA := r.Step("a")
				time.Sleep(time.Second)
				endB := r.Step("b")
				time.Sleep(30 * time.Second)
				r.Detail("a", "half")
				endB(nil)
				endA(nil)
			},
			want: "[1/2] a: half (31s so far)\n[2/2] b: done (30s)\n[1/2] a: done (31s)\n",
		},
		{
			name: "live", total: 2, width: 80,
			work: func(r progress.Reporter) {
				end := r.Step("build")
				r.Detail("build", "1 of 2 packages")
				time.Sleep(2 * time.Second)
				end(nil)
				r.Step("start")(errors.New("no"))
			},
			want: erase + "[1/2] build …" +
				erase + "[1/2] build: 1 of 2 packages …" +
				erase + "[1/2] build: done (2s)\n" +
				erase + "[2/2] start …" +
				erase + "[2/2] start: failed: no (0s)\n",
		},
		{
			name: "live in a narrow terminal", total: 1, width: 12,
			work: func(r progress.Reporter) { r.Step("build kubernetes")(nil) },
			want: erase + "[1/1] build" + erase + "[1/1] build kubernetes: done (0s)\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				tt.work(progress.NewPrinter(&out, tt.total, tt.width))
				if diff := cmp.Diff(tt.want, out.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Steps that run at once are told apart, each on lines of its own.
func TestConcurrentSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 20
		var out strings.Builder
		p := progress.NewPrinter(&out, steps, 0)
		var wg sync.WaitGroup
		for i := range steps {
			wg.Go(func() {
				name := fmt.Sprintf("step %02d", i)
				end := p.Step(name)
				for range 5 {
					time.Sleep(time.Second)
					p.Detail(name, "on its way")
				}
				end(nil)
			})
		}
		wg.Wait()
		var labels, names []string
		for line := range strings.Lines(out.String()) {
			label, rest, _ := strings.Cut(strings.TrimSuffix(line, ": done (5s)\n"), " ")
			labels, names = append(labels, label), append(names, rest)
		}
		var wantLabels, wantNames []string
		for i := range steps {
			wantLabels = append(wantLabels, fmt.Sprintf("[%d/%d]", i+1, steps))
			wantNames = append(wantNames, fmt.Sprintf("step %02d", i))
		}
		slices.Sort(labels)
		slices.Sort(wantLabels)
		slices.Sort(names)
		if diff := cmp.Diff([][]string{wantLabels, wantNames}, [][]string{labels, names}); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Text between the steps has lines of its own: on a terminal the live line goes first.
func TestPrint(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		want  string
	}{
		{name: "file", want: "✓ proven\n[1/1] measure: done (0s)\n"},
		{name: "terminal", width: 80, want: "\r\x1b[2K[1/1] measure …\r\x1b[2K✓ proven\n\r\x1b[2K[1/1] measure: done (0s)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				p := progress.NewPrinter(&out, 1, test.width)
				end := p.Step("measure")
				p.Print("✓ proven\n")
				end(nil)
				if diff := cmp.Diff(test.want, out.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}
