// Package record keeps the results of runs as files, and reads them.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/input"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

const (
	// kept is how many results stay, the newest ones.
	kept = 20
	// maxSize bounds what Load reads, in bytes: a result has some hundred KiB.
	maxSize = 64 << 20

	resultName, costsName, pageName = "result.json", "costs.json", "report.html"

	expected = "expected a file that `lab run -o json` or `lab costs -o json` wrote"
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
	measured, err := Latencies(dir)
	if err != nil {
		return Saved{}, err
	}
	return save(dir, r.Started, resultName, r, func(w io.Writer) error { return page.Write(w, r, page.Beside{Costs: &measured}) })
}

// SaveCosts writes a table of costs and its page, as Save does.
func SaveCosts(dir string, t costs.Table) (Saved, error) {
	return save(dir, t.Started, costsName, t, func(w io.Writer) error { return page.WriteCosts(w, t) })
}

func save(dir string, started time.Time, name string, result any, write func(io.Writer) error) (Saved, error) {
	folder := filepath.Join(dir, started.UTC().Format("2006-01-02T15-04-05.000"))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Saved{}, fmt.Errorf("keeping the result: %w", err)
	}
	s := Saved{filepath.Join(folder, name), filepath.Join(folder, pageName)}
	content, err := json.Marshal(result)
	if err != nil {
		return s, fmt.Errorf("keeping the result: %w", err)
	}
	if err := os.WriteFile(s.Result, content, 0o644); err != nil {
		return s, fmt.Errorf("keeping the result: %w", err)
	}
	var html bytes.Buffer
	if err := write(&html); err != nil {
		return s, fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(s.Page, html.Bytes(), 0o644); err != nil {
		return s, fmt.Errorf("writing the report: %w", err)
	}
	return s, prune(dir)
}

// Latencies returns the newest table of costs in dir that this lab can read, or the
// committed one.
func Latencies(dir string) (costs.Table, error) {
	if file, err := newest(dir, costsName); err == nil {
		if t, err := LoadCosts(file); err == nil {
			return t, nil
		}
	}
	return costs.Measured()
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
func Newest(dir string) (string, error) { return newest(dir, resultName) }

func newest(dir, kind string) (string, error) {
	folders, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, f := range slices.Backward(folders) {
		name := filepath.Join(dir, f.Name(), kind)
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", ErrNone
}

// Loaded is what a file has: the result of a run, or a table of costs. The other is nil.
type Loaded struct {
	Run   *report.Result
	Costs *costs.Table
}

// Load reads the result of a run. The error says what the file is instead.
func Load(file string) (report.Result, error) {
	l, err := Read(file)
	switch {
	case err != nil:
		return report.Result{}, err
	case l.Run == nil:
		return report.Result{}, fmt.Errorf("%s is a table of costs: expected a file that `lab run -o json` wrote", file)
	}
	return *l.Run, nil
}

// LoadCosts reads a table of costs. The error says what the file is instead.
func LoadCosts(file string) (costs.Table, error) {
	l, err := Read(file)
	switch {
	case err != nil:
		return costs.Table{}, err
	case l.Costs == nil:
		return costs.Table{}, fmt.Errorf("%s is the result of a run: expected a file that `lab costs -o json` wrote", file)
	}
	return *l.Costs, nil
}

// Read reads a file of either kind. The error says what the file is instead.
func Read(file string) (l Loaded, err error) {
	f, err := os.Open(file)
	if err != nil {
		return l, fmt.Errorf("%s: %w: %s", file, input.Reason(err), expected)
	}
	defer f.Close()
	content, err := input.Read(f, maxSize)
	if err != nil {
		return l, fmt.Errorf("%s: %w: %s", file, err, expected)
	}
	var kind struct {
		Schema int             `json:"schema"`
		Rows   json.RawMessage `json:"rows"` // only a table of costs has them
	}
	if err := json.Unmarshal(content, &kind); err != nil {
		syntax, cut := errors.AsType[*json.SyntaxError](err)
		if cut && syntax.Offset >= int64(len(content)) {
			return l, fmt.Errorf("%s is cut short after %d bytes: write it again with `lab run -o json` or `lab costs -o json`", file, len(content))
		}
		return l, fmt.Errorf("%s is no result of a run, and no table of costs: %w: %s", file, err, expected)
	}
	const another = "another version of the lab wrote it, or another program"
	if kind.Rows != nil {
		l.Costs = new(costs.Table)
		if kind.Schema < 0 || kind.Schema > costs.Schema {
			return l, fmt.Errorf("%s has schema %d, expected %d or none: %s", file, kind.Schema, costs.Schema, another)
		}
		if err = json.Unmarshal(content, l.Costs); err == nil {
			err = l.Costs.Valid()
		}
	} else {
		l.Run = new(report.Result)
		if kind.Schema != report.Schema {
			return l, fmt.Errorf("%s has schema %d, expected %d: %s", file, kind.Schema, report.Schema, another)
		}
		if err = json.Unmarshal(content, l.Run); err == nil {
			err = valid(*l.Run)
		}
	}
	if err != nil {
		return l, fmt.Errorf("%s: %w: %s", file, err, expected)
	}
	return l, nil
}

// valid refuses a result whose parts do not fit together, on which a page would fail.
func valid(r report.Result) error {
	if len(r.Strategies) == 0 {
		return errors.New("it has no strategies")
	}
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
