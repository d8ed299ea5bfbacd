package dirs_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
)

// One lab at a time works on a checkout's cluster, the error names the other, and
// another checkout's is free.
func TestLock(t *testing.T) {
	d := dirs.New(t.TempDir(), t.TempDir())
	lock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Lock()
	if pid := strconv.Itoa(os.Getpid()); !errors.Is(err, dirs.ErrBusy) || !strings.Contains(err.Error(), "kill "+pid) {
		t.Errorf("second Lock = %v, want %v with pid %s", err, dirs.ErrBusy, pid)
	}
	other, err := dirs.New(d.Cache, "/other").Lock()
	if err != nil {
		t.Errorf("another checkout's Lock = %v, want none", err)
	}
	_ = other.Close()
	_ = lock.Close()
	if lock, err = d.Lock(); err != nil {
		t.Errorf("Lock after the first has ended = %v, want none", err)
	}
	_ = lock.Close()
}

// Who cleans up after a lab has ended is waited for, and not told as another lab.
func TestLockAfterwards(t *testing.T) {
	d := dirs.New(t.TempDir(), t.TempDir())
	first, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	cleaning := make(chan error)
	go func() {
		lock, err := d.LockAfterwards()
		cleaning <- err
		if err == nil {
			cleaning <- lock.Close()
		}
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-cleaning; err != nil {
		t.Fatal(err)
	}
	next, err := d.Lock()
	if err != nil {
		t.Fatalf("Lock while what was left is removed = %v, want none", err)
	}
	if err := <-cleaning; err != nil {
		t.Error(err)
	}
	_ = next.Close()
}
