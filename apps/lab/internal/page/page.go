// Package page writes a result as one HTML page that needs nothing else: pictures,
// tables and style are in it.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/lanes"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/percentile"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

//go:embed report.html.tmpl costs.html.tmpl
var files embed.FS

//go:embed page.css
var css string

var tmpl = template.Must(template.New("page").Funcs(template.FuncMap{"code": code}).ParseFS(files, "*.tmpl"))

// Beside is what a page shows beside a result; each may be nil.
type Beside struct {
	// Moved compares it with an earlier one.
	Moved *report.Moved
	// Costs has the latencies, which a run does not measure one strategy at a time.
	Costs *costs.Table
}

// Write writes the page of a result.
func Write(w io.Writer, r report.Result, beside Beside) error {
	p, err := of(r, beside)
	if err != nil {
		return err
	}
	return tmpl.ExecuteTemplate(w, "report", p)
}

// CSS is the style of a page with pictures.
func CSS() template.CSS { return template.CSS(css) + lanes.CSS() + percentile.CSS() } //nolint:gosec // G203: it is a constant

// page is what the template shows.
type page struct {
	CSS     template.CSS
	Result  report.Result
	Summary string
	Took    string
	Facts   []fact
	Columns []string
	// Strategies are in the result's order; what is about none of them is in Others.
	Strategies []section
	Others     *section
	Moved      *report.Moved
	// Latencies are those that Costs has of the result's strategies; nil if it has none.
	Costs     *costs.Table
	Latencies *latencies
}

type fact struct{ Name, Value string }

type section struct {
	ID string
	report.Strategy
	Cells       []string
	Claims      []report.Claim
	Experiments []experiment
}

type experiment struct {
	ID string
	report.Experiment
	Picture template.HTML
	Pods    []pod
	Step    string
	Seconds string
}

// pod is a lane as a row of a table.
type pod struct {
	Name, Ready, FirstCall, Left string
	Calls                        int64
	Clients                      []client
	EachBin                      string
}

type client struct {
	Name  string
	Calls int64
}

func of(r report.Result, beside Beside) (page, error) {
	p := page{
		CSS:    CSS(),
		Result: r, Summary: r.Summary(), Took: r.Finished.Sub(r.Started).Round(time.Second).String(), Moved: beside.Moved,
		Facts: factsOf(r.Cluster, r.Machine, r.Versions), Columns: report.Columns,
	}
	for _, s := range r.Strategies {
		own, err := sectionOf(r, s)
		if err != nil {
			return p, err
		}
		p.Strategies = append(p.Strategies, own)
	}
	if err := p.measured(beside.Costs); err != nil {
		return p, err
	}
	others := section{ID: "others"}
	for _, c := range r.Claims {
		if !slices.ContainsFunc(r.Strategies, func(s report.Strategy) bool { return s.Name == c.Strategy }) {
			others.Claims = append(others.Claims, c)
		}
	}
	if len(others.Claims) > 0 {
		others.Name = others.Claims[0].Strategy
		p.Others = &others
	}
	return p, nil
}

// measured adds the latencies of the result's strategies.
func (p *page) measured(t *costs.Table) error {
	if t == nil {
		return nil
	}
	var names []string
	for _, s := range p.Result.Strategies {
		names = append(names, s.Name)
	}
	drawn, err := latenciesOf(*t, names)
	if err != nil || !slices.ContainsFunc(drawn.Rows, func(r latencyRow) bool { return slices.Contains(names, r.Name) }) {
		return err
	}
	p.Costs, p.Latencies = t, &drawn
	return nil
}

// code makes code of the words between backticks.
func code(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			b.WriteString("<code>" + template.HTMLEscapeString(part) + "</code>")
		} else {
			b.WriteString(template.HTMLEscapeString(part))
		}
	}
	return template.HTML(b.String()) //nolint:gosec // G203: every part is escaped
}

func sectionOf(r report.Result, s report.Strategy) (section, error) {
	own := section{ID: id("s", s.Name), Strategy: s, Cells: report.Cells(r, s)}
	for _, c := range r.Claims {
		if c.Strategy == s.Name {
			own.Claims = append(own.Claims, c)
		}
	}
	for _, e := range r.Experiments {
		if e.Strategy != s.Name {
			continue
		}
		drawn, err := experimentOf(s, e)
		if err != nil {
			return own, err
		}
		own.Experiments = append(own.Experiments, drawn)
	}
	return own, nil
}

// around is how much of the time before an experiment is drawn.
const around = 3 * time.Second

func experimentOf(s report.Strategy, e report.Experiment) (experiment, error) {
	drawn := experiment{ID: id("e", fmt.Sprintf("%s-%s-%d", s.Name, e.Name, e.Started.UnixMilli())), Experiment: e}
	picture, ok := PictureOf(s, e)
	if !ok {
		return drawn, nil
	}
	var err error
	if drawn.Picture, err = lanes.Inline(picture); err != nil {
		return drawn, err
	}
	t := picture.Timeline
	drawn.Step, drawn.Seconds = fmt.Sprintf("%g s", t.StepSeconds), fmt.Sprintf("%.0f s", t.End().Sub(t.Start).Seconds())
	for _, l := range t.Lanes {
		drawn.Pods = append(drawn.Pods, podOf(t, l, picture.Zero))
	}
	return drawn, nil
}

// PictureOf returns the picture of an experiment; false says that nothing was seen of
// it, as of one that an earlier attempt made.
func PictureOf(s report.Strategy, e report.Experiment) (lanes.Picture, bool) {
	if s.Timeline == nil || e.Status != report.Measured || e.Changed.IsZero() || e.Changed.Before(s.Timeline.Start) || e.End.IsZero() {
		return lanes.Picture{}, false
	}
	begin := slices.MaxFunc([]time.Time{e.Begin, e.Changed.Add(-3 * around)}, time.Time.Compare)
	t := s.Timeline.Between(begin.Add(-around), e.End)
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %s: %s.", s.Name, e.Name, e.Change)
	for _, f := range e.Findings {
		fmt.Fprintf(&text, " %s: %s.", f.Text, f.Measured)
	}
	var marks []lanes.Mark
	if e.Change != "none" {
		marks = append(marks, lanes.Mark{At: e.Changed, Text: e.Change})
	}
	return lanes.Picture{
		ID: id("p", fmt.Sprintf("%s-%s-%d", s.Name, e.Name, e.Started.UnixMilli())), Title: s.Name + ": " + e.Name, Text: text.String(),
		Timeline: t, Marks: marks, Zero: e.Changed,
	}, true
}

func podOf(t report.Timeline, l report.Lane, zero time.Time) pod {
	p := pod{Name: l.Server, Ready: since(l.Ready, zero), FirstCall: since(l.FirstCall, zero), Left: since(l.Left, zero)}
	sums := make([]int64, t.Bins)
	for _, c := range t.Clients {
		own := client{Name: c}
		for bin, n := range l.Calls[c] {
			own.Calls += n
			sums[bin] += n
		}
		p.Calls += own.Calls
		p.Clients = append(p.Clients, own)
	}
	p.EachBin = strings.Trim(fmt.Sprint(sums), "[]")
	return p
}

// since is a moment on the axis of a picture.
func since(at, zero time.Time) string {
	if at.IsZero() {
		return none
	}
	return fmt.Sprintf("%.1f s", at.Sub(zero).Seconds())
}

// id makes a name of HTML from what can be any text.
func id(kind, name string) string {
	return kind + "-" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '_'
	}, name)
}
