// Package report is the result of a comparison of resolvers: its JSON, and the tables
// that a README shows of it.
package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Report is one run of all subjects.
type Report struct {
	Machine  string    `json:"machine"` // what it ran on
	Subjects []Subject `json:"subjects"`
	Figures  []Figure  `json:"figures"`
	Cases    []Case    `json:"cases"`
}

// Machine describes the machine that the program runs on.
func Machine() string {
	return fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// Subject is one resolver.
type Subject struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// NotRun says why there is nothing about it, and is empty otherwise.
	NotRun string `json:"notRun,omitempty"`
}

// Case is what became of one case.
type Case struct {
	Name string `json:"name"` // with its kind, such as real/last-slice-wins
	Want string `json:"want"`
	// Results maps a subject to Passed, or to a text that begins with "failed: " or
	// "not run: ".
	Results map[string]string `json:"results"`
}

// Passed is the result of a case that passed.
const Passed = "passed"

// Figure is one measurement of all subjects.
type Figure struct {
	Name   string           `json:"name"`
	Unit   string           `json:"unit"`
	Values map[string]Value `json:"values"` // by subject
}

// Value is a number, or a note where there is none or where it is a bound.
type Value struct {
	Number float64 `json:"number"`
	Note   string  `json:"note,omitempty"`
}

// String returns what a cell of a table has room for.
func (v Value) String() string {
	if v.Note != "" {
		return Cut(v.Note, 40)
	}
	switch {
	case v.Number == 0:
		return "0"
	case v.Number < 10:
		return fmt.Sprintf("%.2g", v.Number)
	default:
		return fmt.Sprintf("%.0f", v.Number)
	}
}

// Read reads a report from a JSON file.
func Read(path string) (Report, error) {
	var r Report
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("report: %s: %w", path, err)
	}
	return r, nil
}

// Write writes a report to a JSON file.
func (r Report) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Comparable reports why results of an older report cannot stand beside those of this one.
func (r Report) Comparable(old Report) error {
	if old.Machine != r.Machine {
		return fmt.Errorf("it was measured on %q, expected %q: run all again", old.Machine, r.Machine)
	}
	for _, s := range old.Subjects {
		i := slices.IndexFunc(r.Subjects, func(now Subject) bool { return now.Name == s.Name })
		if i >= 0 && r.Subjects[i].Version != s.Version {
			return fmt.Errorf("it has results of %s %s, expected %s: run all again", s.Name, s.Version, r.Subjects[i].Version)
		}
	}
	return nil
}

// Keep takes what the report lacks from an older one, and drops what neither has.
func (r *Report) Keep(old Report) {
	if len(r.Figures) == 0 {
		r.Figures = old.Figures
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		j := slices.IndexFunc(old.Cases, func(o Case) bool { return o.Name == c.Name })
		if j >= 0 {
			c.Results = merged(old.Cases[j].Results, c.Results)
		}
	}
	for i := range r.Figures {
		f := &r.Figures[i]
		j := slices.IndexFunc(old.Figures, func(o Figure) bool { return o.Name == f.Name && o.Unit == f.Unit })
		if j >= 0 {
			f.Values = merged(old.Figures[j].Values, f.Values)
		}
	}
	r.Cases = slices.DeleteFunc(r.Cases, func(c Case) bool { return len(c.Results) == 0 })
	r.Figures = slices.DeleteFunc(r.Figures, func(f Figure) bool { return len(f.Values) == 0 })
}

// merged returns both maps in one, of which the second wins.
func merged[T any](old, now map[string]T) map[string]T {
	all := maps.Clone(old)
	maps.Copy(all, now)
	return all
}

// Summary returns a table of the subjects in Markdown: cases that passed, and figures.
func (r Report) Summary() string {
	ran := r.ran()
	var b strings.Builder
	row(&b, append([]string{""}, each(ran, func(s Subject) string { return s.Name + " " + s.Version })...))
	row(&b, slices.Repeat([]string{"---"}, len(ran)+1))
	row(&b, append([]string{"cases passed"}, each(ran, r.passed)...))
	for _, f := range r.Figures {
		row(&b, append([]string{f.Name + unit(f.Unit)}, each(ran, f.cell)...))
	}
	for _, s := range r.Subjects {
		if s.NotRun != "" {
			fmt.Fprintf(&b, "\n%s: not run: %s\n", s.Name, s.NotRun)
		}
	}
	fmt.Fprintf(&b, "\nMeasured on %s.\n", r.Machine)
	return b.String()
}

// ran returns the subjects that there is something about.
func (r Report) ran() []Subject {
	return slices.DeleteFunc(slices.Clone(r.Subjects), func(s Subject) bool { return s.NotRun != "" })
}

// cell returns what a table says of a subject, a dash where it was not measured.
func (f Figure) cell(s Subject) string {
	if v, measured := f.Values[s.Name]; measured {
		return v.String()
	}
	return "-"
}

// passed counts the cases that passed, of those that ran.
func (r Report) passed(s Subject) string {
	passed, ran := 0, 0
	for _, c := range r.Cases {
		result := c.Results[s.Name]
		if result == "" || strings.HasPrefix(result, "not run") {
			continue
		}
		ran++
		if result == Passed {
			passed++
		}
	}
	return fmt.Sprintf("%d of %d", passed, ran)
}

// Details returns a table of the cases in Markdown.
func (r Report) Details() string {
	ran := r.ran()
	var b strings.Builder
	row(&b, append([]string{"what goes wrong"}, each(ran, func(s Subject) string { return s.Name })...))
	row(&b, slices.Repeat([]string{"---"}, len(ran)+1))
	for _, c := range r.Cases {
		row(&b, append([]string{c.Name}, each(ran, func(s Subject) string { return mark(c.Results[s.Name]) })...))
	}
	return b.String()
}

func mark(result string) string {
	switch {
	case result == Passed:
		return "ok"
	case strings.HasPrefix(result, "failed"):
		return "**fails**"
	default:
		return "-"
	}
}

func row(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func each[T any](list []T, f func(T) string) []string {
	var all []string
	for _, e := range list {
		all = append(all, f(e))
	}
	return all
}

func unit(u string) string {
	if u == "" {
		return ""
	}
	return ", " + u
}

// Cut returns the beginning of a text that has more bytes than this.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Replace returns the text with what stands between the comments <!-- name --> and
// <!-- /name --> replaced.
func Replace(text, name, with string) (string, error) {
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("report: there is no block between %q and %q", strings.TrimSpace(begin), end)
	}
	return head + begin + with + end + tail, nil
}
