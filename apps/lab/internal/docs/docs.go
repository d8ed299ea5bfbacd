// Package docs derives pages and pictures of this repository from committed measurements.
package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/lanes"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/slow"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// The committed measurements, below the repository's root.
const (
	runFile   = "apps/lab/internal/docs/run.json"
	costsFile = "apps/lab/internal/report/costs/measured.json"
	slowFile  = "apps/lab/internal/report/slow/measured.json"
	callFile  = "apps/internal/callpath/measured.json"
)

// The picture of the first page, and the strategies and the experiment in it.
const (
	firstPicture = "overlays/scale-out.svg"
	pictureName  = "scale-out.svg" // of an overlay, in its folder
	experiment   = strategy.ScaleOut
)

var compared = []string{"l4", "k8s-api"}

// What the pictures show before and after the change.
const before, after = 5 * time.Second, 15 * time.Second

// Files returns the content of every page and picture that is derived, by its path below
// the root. More holds blocks of pages that the caller makes.
func Files(root string, more map[string]map[string]string) (map[string][]byte, error) {
	run, err := record.Load(filepath.Join(root, runFile))
	if err != nil {
		return nil, err
	}
	all, err := pictures(run)
	if err != nil {
		return nil, err
	}
	var measured costs.Table
	var one slow.Result
	var call callpath.Result
	if err := readJSON(filepath.Join(root, costsFile), &measured); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(root, slowFile), &one); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(root, callFile), &call); err != nil {
		return nil, err
	}
	blocks := map[string]map[string]string{
		"README.md":          costs.Markdown(measured),
		"overlays/README.md": costs.Markdown(measured),
		"overlays/WHY.md":    {"findings": findings()},
	}
	blocks["README.md"]["claims"] = sample(run)
	blocks["README.md"]["callpath"] = callpath.Markdown(call)
	blocks["overlays/README.md"]["slow"] = slow.Markdown(one)
	for name, own := range more {
		if blocks[name] == nil {
			blocks[name] = map[string]string{}
		}
		maps.Copy(blocks[name], own)
	}
	for name, own := range blocks {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		updated, err := costs.Update(string(content), own)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = []byte(updated)
	}
	return all, nil
}

// Write writes what differs, and returns the paths of it.
func Write(root string, files map[string][]byte) (written []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return written, err
		}
		written = append(written, name)
	}
	return written, nil
}

// pictures draws each overlay's scale-out, and that of two of them beside each other.
func pictures(run report.Result) (map[string][]byte, error) {
	all := map[string][]byte{}
	of := map[string]lanes.Picture{}
	for _, s := range run.Strategies {
		e, ok := last(run.Experiments, s.Name)
		if !ok {
			continue
		}
		p, ok := page.PictureOf(s, e)
		if !ok {
			continue
		}
		p.Title = s.Name + ": " + s.Balancer
		p.Timeline = p.Timeline.Between(p.Zero.Add(-before), p.Zero.Add(after))
		of[s.Name] = p
		if strings.HasSuffix(s.Name, "-max-age") {
			continue // a variant has no folder
		}
		var b bytes.Buffer
		if err := lanes.File(&b, p); err != nil {
			return nil, err
		}
		all["overlays/"+s.Name+"/"+pictureName] = b.Bytes()
	}
	var beside []lanes.Picture
	for _, name := range compared {
		p, ok := of[name]
		if !ok {
			return nil, fmt.Errorf("%s has no picture of %s for %s: measure all strategies with `lab run -o json`", runFile, experiment, name)
		}
		beside = append(beside, p)
	}
	var b bytes.Buffer
	if err := lanes.File(&b, beside...); err != nil {
		return nil, err
	}
	all[firstPicture] = b.Bytes()
	return all, nil
}

// sample is how a run prints two claims.
func sample(run report.Result) string {
	var b strings.Builder
	b.WriteString("```\n")
	for _, c := range run.Claims {
		if c.ID == 2 || c.ID == 9 && c.Strategy == "k8s-api" {
			b.WriteString(c.Line(report.Style{}))
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func findings() string {
	var table strings.Builder
	table.WriteString("| finding | what it does to calls | what to do |\n|---|---|---|\n")
	for _, k := range balance.Kinds {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", k.Name, k.Why, k.Change)
	}
	return table.String()
}

// Reduced is what the pages need of a run: the claims, and of each timeline the part of
// the experiment that is drawn.
func Reduced(r report.Result) report.Result {
	const around = 15 * time.Second
	r.Experiments = slices.DeleteFunc(slices.Clone(r.Experiments), func(e report.Experiment) bool { return e.Name != experiment })
	for i := range r.Experiments {
		r.Experiments[i].Journal = nil
	}
	r.Strategies = slices.Clone(r.Strategies)
	for i := range r.Strategies {
		s := &r.Strategies[i]
		s.Journal = nil
		e, ok := last(r.Experiments, s.Name)
		if s.Timeline == nil || !ok {
			s.Timeline = nil
			continue
		}
		part := s.Timeline.Between(e.Changed.Add(-around), e.End.Add(around))
		s.Timeline = &part
	}
	return r
}

// last returns the experiment of a strategy in the last attempt that measured it, which
// is the one of the timeline.
func last(experiments []report.Experiment, strategy string) (report.Experiment, bool) {
	for _, e := range slices.Backward(experiments) {
		if e.Strategy == strategy && e.Name == experiment && e.Status == report.Measured {
			return e, true
		}
	}
	return report.Experiment{}, false
}

// Commit makes a run the one of the pages. It refuses one that lacks a picture which the
// pages have.
func Commit(root string, r report.Result) error {
	drawn, err := pictures(Reduced(r))
	if err != nil {
		return err
	}
	there, err := filepath.Glob(filepath.Join(root, "overlays", "*", pictureName))
	if err != nil {
		return err
	}
	for _, file := range there {
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); drawn[name] == nil {
			return fmt.Errorf("the run has no %s for %s: measure all strategies with `lab run -o json`", experiment, name)
		}
	}
	content, err := json.Marshal(Reduced(r))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, runFile), append(content, '\n'), 0o644)
}

func readJSON(file string, into any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
