// Package lanes draws who answered the calls of a strategy over time as SVG: one lane
// per server pod, in it the calls of each client stacked, second by second.
package lanes

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Mark is an event that concerns all lanes, such as a scale-out.
type Mark struct {
	At   time.Time
	Text string
}

// Picture is what is drawn.
type Picture struct {
	// ID is unique on its page, and is a name in HTML.
	ID    string
	Title string
	// Text says what there is to see, for those who cannot see it.
	Text     string
	Timeline report.Timeline
	Marks    []Mark
	// Zero is the moment that the axis calls 0 s; a zero time is the timeline's start.
	Zero time.Time
	// Busiest is how many calls a second fill a lane; 0 is as many as the busiest one
	// has. Pictures beside each other share it.
	Busiest int64
}

// Measures of the drawing, in its own units.
const (
	gutter     = 168 // for the names of the lanes
	plotWidth  = 720
	margin     = 12
	laneHeight = 26
	laneGap    = 6
	markRow    = 16
	headRow    = 24
	axisRow    = 34
	legendRow  = 20
	// palette is the number of colours; further clients share the last one.
	palette = 5
)

//go:embed lanes.svg.tmpl
var svg string

//go:embed lanes.css
var css string

// CSS colours the pictures of a page, light and dark.
func CSS() template.CSS { return template.CSS(css) } //nolint:gosec // G203: it is a constant

var tmpl = template.Must(template.New("lanes").Parse(svg))

// Inline returns the picture as an element of a page that has [CSS].
func Inline(p Picture) (template.HTML, error) {
	var b strings.Builder
	err := tmpl.ExecuteTemplate(&b, "picture", drawn(p, false))
	return template.HTML(b.String()), err //nolint:gosec // G203: html/template wrote it
}

// File writes pictures, one below the other, as a file of its own. Lanes are equally high
// for equally many calls.
func File(w io.Writer, pictures ...Picture) error {
	var busiest int64
	for _, p := range pictures {
		busiest = max(busiest, p.Timeline.Busiest())
	}
	f := figure{CSS: CSS()}
	for _, p := range pictures {
		p.Busiest = busiest
		d := drawn(p, true)
		f.Drawings = append(f.Drawings, placed{d, f.Height})
		f.Width, f.Height = d.Width, f.Height+d.Height
	}
	return tmpl.ExecuteTemplate(w, "file", f)
}

// figure is a file of pictures.
type figure struct {
	CSS           template.CSS
	Width, Height int
	Drawings      []placed
}

type placed struct {
	drawing
	Y int
}

// drawing is a picture in coordinates.
type drawing struct {
	Picture
	Headed        bool // it shows its title
	Width, Height int
	Left, Right   int
	Top, Bottom   int // of all lanes
	Lanes         []lane
	Rows          []row
	Marks         []markAt
	Ticks         []tick
	Unit          string
	Legend        []key
	LegendY       int
}

type lane struct {
	Name, Whole string
	Y, Height   int
	Ready       *span
	Shapes      []shape
	FirstCall   *span // its X alone
	Gone        *span
}

type span struct{ X, Width float64 }

type shape struct {
	Color int
	Path  string
}

type row struct {
	Name      string
	Kind      string // failed or closed
	Y, Height int
	Path      string
}

type markAt struct {
	X     float64
	Y     int
	Text  string
	Right bool // the text is to the left of its line
}

type tick struct {
	X    float64
	Text string
}

type key struct {
	X     int
	Class string
	Text  string
}

func drawn(p Picture, headed bool) drawing {
	d := drawing{Picture: p, Headed: headed, Left: gutter, Right: gutter + plotWidth, Width: gutter + plotWidth + margin}
	if d.Zero.IsZero() {
		d.Zero = p.Timeline.Start
	}
	above := margin
	if headed {
		above += headRow
	}
	d.Top = above + markRow*len(p.Marks)
	if d.Busiest == 0 {
		d.Busiest = p.Timeline.Busiest()
	}
	colors := colorsOf(p.Timeline.Clients)
	y := d.Top
	for i, l := range p.Timeline.Lanes {
		d.Lanes = append(d.Lanes, d.lane(i, l, y, colors))
		y += laneHeight + laneGap
	}
	for _, r := range []struct {
		name, kind string
		counts     []int64
	}{{"failed calls", "failed", p.Timeline.Failed}, {"closed connections", "closed", p.Timeline.Closed}} {
		if most := most(r.counts); most > 0 {
			d.Rows = append(d.Rows, row{Name: fmt.Sprintf("%s, ≤ %d/s", r.name, most), Kind: r.kind, Y: y, Height: laneHeight / 2, Path: d.bars(r.counts, nil, most, y, laneHeight/2)})
			y += laneHeight/2 + laneGap
		}
	}
	d.Bottom = y
	for i, m := range p.Marks {
		x := d.x(m.At)
		if x < float64(d.Left) || x > float64(d.Right) {
			continue
		}
		d.Marks = append(d.Marks, markAt{X: x, Y: above + markRow*i + 8, Text: m.Text, Right: x > float64(d.Left+plotWidth*6/10)})
	}
	d.Ticks = d.ticks()
	d.Unit = fmt.Sprintf("time (s); a full lane is %d calls/s", d.Busiest)
	d.LegendY = d.Bottom + axisRow
	d.legend()
	d.Height = d.LegendY + legendRow
	return d
}

func colorsOf(clients []string) map[string]int {
	colors := map[string]int{}
	for i, c := range clients {
		colors[c] = min(i, palette-1)
	}
	return colors
}

func (d drawing) lane(i int, l report.Lane, y int, colors map[string]int) lane {
	drawn := lane{Name: fmt.Sprintf("pod %d · %s", i+1, suffix(l.Server)), Whole: l.Server, Y: y, Height: laneHeight}
	if !l.Ready.IsZero() {
		from, to := d.x(l.Ready), float64(d.Right)
		if !l.Left.IsZero() {
			to = min(to, d.x(l.Left))
			if to >= float64(d.Left) && to < float64(d.Right) {
				drawn.Gone = &span{X: to}
			}
		}
		from = max(from, float64(d.Left))
		drawn.Ready = &span{from, max(to-from, 0)}
	}
	below := make([]int64, d.Timeline.Bins)
	for _, client := range d.Timeline.Clients {
		if calls := l.Calls[client]; calls != nil {
			drawn.Shapes = append(drawn.Shapes, shape{colors[client], d.bars(calls, below, d.Busiest, y, laneHeight)})
			for bin, n := range calls {
				below[bin] += n
			}
		}
	}
	if x := d.x(l.FirstCall); !l.FirstCall.IsZero() && x > float64(d.Left) && x < float64(d.Right) {
		drawn.FirstCall = &span{X: x}
	}
	return drawn
}

// bars draws counts as bars over others; equal neighbours are one bar.
func (d drawing) bars(counts, below []int64, full int64, y, height int) string {
	if full == 0 {
		return ""
	}
	at := func(n int64) float64 {
		return float64(y+height) - float64(height)*min(1, float64(n)/float64(full))
	}
	base := func(bin int) int64 {
		if below == nil {
			return 0
		}
		return below[bin]
	}
	width := float64(plotWidth) / float64(max(d.Timeline.Bins, 1))
	var b strings.Builder
	for bin := 0; bin < len(counts); {
		next := bin + 1
		for next < len(counts) && counts[next] == counts[bin] && base(next) == base(bin) {
			next++
		}
		if counts[bin] > 0 {
			fmt.Fprintf(&b, "M%.1f %.1fV%.1fH%.1fV%.1fZ", float64(d.Left)+float64(bin)*width, at(base(bin)), at(base(bin)+counts[bin]), float64(d.Left)+float64(next)*width, at(base(bin)))
		}
		bin = next
	}
	return b.String()
}

// x is where a moment is.
func (d drawing) x(at time.Time) float64 {
	whole := d.Timeline.End().Sub(d.Timeline.Start)
	if whole <= 0 {
		return float64(d.Left)
	}
	return float64(d.Left) + plotWidth*float64(at.Sub(d.Timeline.Start))/float64(whole)
}

// ticks are at most nine, at round seconds.
func (d drawing) ticks() []tick {
	const most = 9
	whole := d.Timeline.End().Sub(d.Timeline.Start)
	every := time.Second
	for _, next := range []time.Duration{2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800} {
		if whole/every <= most {
			break
		}
		every = next * time.Second
	}
	first := d.Timeline.Start.Sub(d.Zero)
	from := first.Truncate(every)
	if from < first {
		from += every
	}
	var all []tick
	for at := from; at <= first+whole && len(all) <= 2*most; at += every {
		all = append(all, tick{d.x(d.Zero.Add(at)), fmt.Sprintf("%d", int(at.Seconds()))})
	}
	return all
}

func (d *drawing) legend() {
	x := d.Left
	add := func(class, text string) {
		d.Legend = append(d.Legend, key{x, class, text})
		x += 24 + 7*len([]rune(text))
	}
	for i := range d.Timeline.Clients {
		if i == palette-1 && len(d.Timeline.Clients) > palette {
			add(fmt.Sprintf("c%d", i), "other clients")
			break
		}
		add(fmt.Sprintf("c%d", i), fmt.Sprintf("client %d", i+1))
	}
	add("ready", "ready")
	add("first", "first call")
	add("gone", "not ready any more")
}

func most(counts []int64) (n int64) {
	for _, c := range counts {
		n = max(n, c)
	}
	return n
}

// suffix is what tells a Deployment's pods apart.
func suffix(pod string) string {
	const longest = 10
	name := pod[strings.LastIndex(pod, "-")+1:]
	if r := []rune(name); len(r) > longest {
		name = string(r[:longest-1]) + "…"
	}
	return name
}
