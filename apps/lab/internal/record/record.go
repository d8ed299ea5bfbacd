// Package record keeps the results of runs as files, and reads them.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/input"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

const (
	// kept is how many results stay, the newest ones.
	kept = 20
	// maxSize bounds what Load reads, in bytes: a result has some hundred KiB.
	maxSize = 64 << 20

	resultName, pageName = "result.json", "report.html"
)

// ErrNone says that no result is kept.
var ErrNone = errors.New("no run of this checkout is kept: run `go run ./apps/lab` first, or name a file that `lab run -o json` wrote")

// Saved is a result on disk.
type Saved struct {
	// Result is its JSON, Page its report.
	Result, Page string
}

// Save writes a result and its report into a new folder of dir, and removes the oldest.
func Save(dir string, r report.Result) (Saved, error) {
	folder := filepath.Join(dir, r.Started.UTC().Format("2006-01-02T15-04-05.000"))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Saved{}, fmt.Errorf("keeping the result: %w", err)
	}
	s := Saved{filepath.Join(folder, resultName), filepath.Join(folder, pageName)}
	content, err := json.Marshal(r)
	if err != nil {
		return s, fmt.Errorf("keeping the result: %w", err)
	}
	if err := os.WriteFile(s.Result, content, 0o644); err != nil {
		return s, fmt.Errorf("keeping the result: %w", err)
	}
	var html bytes.Buffer
	if err := page.Write(&html, r, nil); err != nil {
		return s, fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(s.Page, html.Bytes(), 0o644); err != nil {
		return s, fmt.Errorf("writing the report: %w", err)
	}
	return s, prune(dir)
}

// prune removes all but the newest folders, whose names are times.
func prune(dir string) error {
	folders, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return fmt.Errorf("removing old results: %w", err)
	}
	for i := range max(0, len(folders)-kept) {
		if err := os.RemoveAll(filepath.Join(dir, folders[i].Name())); err != nil {
			return fmt.Errorf("removing old results: %w", err)
		}
	}
	return nil
}

// Newest returns the newest result that is kept in dir, or ErrNone.
func Newest(dir string) (string, error) {
	folders, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, f := range slices.Backward(folders) {
		name := filepath.Join(dir, f.Name(), resultName)
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", ErrNone
}

// Load reads a result. The error says what the file is instead.
func Load(file string) (r report.Result, err error) {
	f, err := os.Open(file)
	if err != nil {
		return r, fmt.Errorf("%s: %w: expected a file that `lab run -o json` wrote", file, input.Reason(err))
	}
	defer f.Close()
	content, err := input.Read(f, maxSize)
	if err != nil {
		return r, fmt.Errorf("%s: %w: expected a file that `lab run -o json` wrote", file, err)
	}
	if err := json.Unmarshal(content, &r); err != nil {
		syntax, cut := errors.AsType[*json.SyntaxError](err)
		if cut && syntax.Offset >= int64(len(content)) {
			return r, fmt.Errorf("%s is cut short after %d bytes: write it again with `lab run -o json`", file, len(content))
		}
		return r, fmt.Errorf("%s is no result of a run: %w: expected a file that `lab run -o json` wrote", file, err)
	}
	if r.Schema != report.Schema {
		return r, fmt.Errorf("%s has schema %d, expected %d: another version of the lab wrote it, or another program", file, r.Schema, report.Schema)
	}
	if err := valid(r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// valid refuses a result whose parts do not fit together, on which a page would fail.
func valid(r report.Result) error {
	for _, s := range r.Strategies {
		if s.Timeline == nil {
			continue
		}
		if err := s.Timeline.Valid(); err != nil {
			return fmt.Errorf("strategy %q: %w", s.Name, err)
		}
	}
	return nil
}
