package debian_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is there is not installed again; what is missing is named by its
// package, once, where nothing can install it.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	silent := func(text string) { t.Errorf("said %q, want nothing", text) }
	if err := debian.Install(t.Context(), map[string]string{"here": "pkg-here"}, silent); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	err := debian.Install(t.Context(), map[string]string{"here": "pkg-here", "gone": "pkg-b", "lost": "pkg-b", "none": "pkg-a"}, silent)
	if err == nil || !strings.Contains(err.Error(), "missing: pkg-a pkg-b:") {
		t.Errorf("error %v, want one that names pkg-a and pkg-b", err)
	}
}

// fakeApt puts an apt-get on PATH that appends its arguments to a file and does what
// the script says for "update", "download" and "install".
func fakeApt(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	content := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\ncd %s\ncase \"$*\" in *update*) do=update;; *--download-only*) do=download;; *) do=install;; esac\n%s", calls, dir, script)
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	return calls
}

// Packages are fetched before they are installed, and each call waits for dpkg's lock.
func TestInstallCalls(t *testing.T) {
	calls := fakeApt(t, "")
	var said []string
	if err := debian.Install(t.Context(), map[string]string{"gone": "pkg-b", "none": "pkg-a"}, func(text string) { said = append(said, text) }); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	const lock = "-o DPkg::Lock::Timeout=600 "
	const install = lock + "install -q -y --no-install-recommends pkg-a pkg-b"
	if diff := cmp.Diff(lock+"update -q\n"+install+" --download-only\n"+install+"\n", string(got)); diff != "" {
		t.Errorf("apt-get's arguments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fetching Debian's lists of packages", "fetching from Debian: pkg-a pkg-b", "installing from Debian: pkg-a pkg-b"}, said); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
}

// An interrupt ends what only fetches, and the error says what that was. dpkg is
// never signalled: it is waited for, which is told, and only then it is over.
func TestInstallInterrupted(t *testing.T) {
	const slowly = `
trap 'echo $do was signalled >>ended; exit 100' INT TERM HUP
/bin/sleep 0.01; echo $do begins >>ended
i=0; while [ $i -lt 50 ]; do /bin/sleep 0.02; i=$((i+1)); done; echo $do ends >>ended`
	for _, test := range []struct {
		at    string
		want  string // in the error
		ended string
		told  string // last
	}{
		{at: "update", want: "while fetching Debian's lists of packages (apt-get update -q)", ended: "update begins\nupdate was signalled\n", told: "fetching Debian's lists of packages"},
		{at: "download", want: "while fetching from Debian: pkg (apt-get install ", ended: "download begins\ndownload was signalled\n", told: "fetching from Debian: pkg"},
		{at: "install", want: "closed", ended: "install begins\ninstall ends\n", told: "installing from Debian: pkg: waiting until that is done, since dpkg must not be interrupted"},
	} {
		t.Run(test.at, func(t *testing.T) {
			ended := filepath.Join(filepath.Dir(fakeApt(t, "[ $do = "+test.at+" ] || exit 0\n"+slowly)), "ended")
			cause := errors.New("the terminal was closed")
			ctx, stop := context.WithCancelCause(t.Context())
			begun := make(chan struct{})
			go func() {
				defer close(begun)
				for ctx.Err() == nil {
					if _, err := os.Stat(ended); err == nil {
						stop(cause)
					}
				}
			}()
			defer func() { stop(nil); <-begun }()
			told := make(chan string, 9)
			err := debian.Install(ctx, map[string]string{"gone": "pkg"}, func(text string) { told <- text })
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %v with %q", err, cause, test.want)
			}
			if got, _ := os.ReadFile(ended); string(got) != test.ended {
				t.Errorf("apt-get says %q, want %q", got, test.ended)
			}
			close(told)
			var last string
			for text := range told {
				last = text
			}
			if last != test.told {
				t.Errorf("the last that was told is %q, want %q", last, test.told)
			}
		})
	}
}

// Lists that another program fetches are waited for. What apt-get refuses is told.
func TestInstallRefused(t *testing.T) {
	debian.SetRetry(time.Millisecond)
	calls := fakeApt(t, `
[ $do = install ] || [ -e once ] || { : >once; echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"; exit 100; }
[ $do != download ] || { echo "E: Unable to locate package pkg"; exit 100; }`)
	err := debian.Install(t.Context(), map[string]string{"gone": "pkg"}, func(string) {})
	if want := "installing pkg: apt-get install: exit status 100:\n  E: Unable to locate package pkg"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if got, _ := os.ReadFile(calls); strings.Count(string(got), "update") != 2 {
		t.Errorf("calls:\n%swant two updates", got)
	}
}
