// Package percentile draws how long calls took, by percentile, as SVG. Both axes are
// logarithmic, so that the tail has as much room as the middle.
package percentile

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts/chartdraw"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
)

// Curve is the calls of a strategy.
type Curve struct {
	Name  string
	Calls *latency.Histogram
}

// Scale is what the axes show. Pictures beside each other share it.
type Scale struct {
	nines       float64 // where the axis of percentiles ends: 2 is 99 %, 3 is 99.9 %
	least, most float64 // decimal logarithms of milliseconds
}

const (
	width, height = 420, 280
	// perDecade is how many points a curve has from 90 % to 99 %, and so on.
	perDecade = 20
	// beyond is how many slower calls a percentile must have to say anything.
	beyond = 10
	// mostNines bounds the axis.
	mostNines = 6
)

//go:embed percentile.css
var css string

// CSS colours the pictures of a page, light and dark.
func CSS() template.CSS { return template.CSS(css) } //nolint:gosec // G203: it is a constant

// Tells says whether the calls are enough for a percentile: ten of them must be slower.
func Tells(calls *latency.Histogram, percentile float64) bool {
	return float64(calls.Count())*(100-percentile) >= 100*beyond-1e-6
}

// ScaleOf returns a scale on which all curves have room.
func ScaleOf(curves ...Curve) Scale {
	s := Scale{nines: 1, least: math.Inf(1), most: math.Inf(-1)}
	for _, c := range curves {
		x, y := points(c.Calls)
		if len(x) == 0 {
			continue
		}
		s.nines = max(s.nines, x[len(x)-1])
		s.least, s.most = min(s.least, y[0]), max(s.most, y[len(y)-1])
	}
	if s.least > s.most {
		s.least, s.most = 0, 1
	}
	s.nines = math.Ceil(s.nines*2-1e-9) / 2
	s.least, s.most = floor(s.least), -floor(-s.most)
	if s.least == s.most {
		s.most++
	}
	return s
}

// floor is the next lower logarithm of 1, 2, 5, 10 and so on; minus that of the negative is
// the next higher one, because 1/2 is 5/10.
func floor(log float64) float64 {
	decade := math.Floor(log)
	for _, digit := range []float64{5, 2} {
		if step := decade + math.Log10(digit); step <= log+1e-9 {
			return step
		}
	}
	return decade
}

// Inline returns a curve as an element of a page that has [CSS], with another one dashed
// behind it. Text is for those who cannot see it.
func Inline(text string, s Scale, own, behind Curve) (template.HTML, error) {
	ticksX, ticksY := s.percentiles(), s.millis()
	var curves []chartdraw.Series
	for _, c := range []struct {
		Curve
		class string
	}{{behind, "behind"}, {own, "own"}} {
		if c.Calls == nil {
			continue
		}
		if x, y := points(c.Calls); len(x) > 1 {
			curves = append(curves, line(c.class, x, y))
		}
	}
	if len(curves) == 0 {
		return "", nil
	}
	noGrid := chartdraw.Style{Hidden: true} // the library's has no class
	chart := chartdraw.Chart{
		Width: width, Height: height,
		Background: chartdraw.Style{ClassName: "paper", Padding: chartdraw.Box{IsSet: true, Left: 8, Right: 24, Top: 12, Bottom: 8}},
		Canvas:     chartdraw.Style{ClassName: "paper"},
		XAxis: chartdraw.XAxis{
			Name: "percentile of the calls (%)", NameStyle: class("name"), Style: class("axis"), TickStyle: class("tick"),
			Range: &chartdraw.ContinuousRange{Max: s.nines}, Ticks: ticksX, GridMajorStyle: noGrid, GridMinorStyle: noGrid,
		},
		YAxis: chartdraw.YAxis{Style: chartdraw.Style{Hidden: true}, Range: &chartdraw.ContinuousRange{Max: 1}}, // the right one
		YAxisSecondary: chartdraw.YAxis{
			Style: class("axis"), TickStyle: class("tick"), AxisType: chartdraw.YAxisSecondary,
			Range: &chartdraw.ContinuousRange{Min: s.least, Max: s.most}, Ticks: ticksY, GridMajorStyle: noGrid, GridMinorStyle: noGrid,
		},
	}
	for _, t := range ticksX {
		chart.Series = append(chart.Series, line("grid", []float64{t.Value, t.Value}, []float64{s.least, s.most}))
	}
	for _, t := range ticksY {
		chart.Series = append(chart.Series, line("grid", []float64{0, s.nines}, []float64{t.Value, t.Value}))
	}
	chart.Series = append(chart.Series, curves...)
	var b strings.Builder
	if err := chart.Render(chartdraw.SVG, &b); err != nil {
		return "", fmt.Errorf("drawing the latencies of %s: %w", own.Name, err)
	}
	label := `<svg role="img" aria-label="` + template.HTMLEscapeString(text) + `" `
	return template.HTML(strings.Replace(b.String(), "<svg ", label, 1)), nil //nolint:gosec // G203: the library escapes what it writes
}

// class leaves colours to the style sheet. The library asks for a colour and a size to
// know that there is something to draw, and how wide a text is.
func class(name string) chartdraw.Style {
	const size = 9
	return chartdraw.Style{
		ClassName: name, StrokeColor: chartdraw.ColorBlack, StrokeWidth: 1,
		FontStyle: chartdraw.FontStyle{FontSize: size, FontColor: chartdraw.ColorBlack},
	}
}

func line(kind string, x, y []float64) chartdraw.ContinuousSeries {
	return chartdraw.ContinuousSeries{Style: class(kind), XValues: x, YValues: y, YAxis: chartdraw.YAxisSecondary}
}

// points are a curve on the axes, as far as its calls are enough to tell. x is
// -log10(1 - quantile): 1 is 90 %, 2 is 99 %.
func points(calls *latency.Histogram) (x, y []float64) {
	if calls.Count() == 0 {
		return nil, nil
	}
	for i := range mostNines*perDecade + 1 {
		nines := float64(i) / perDecade
		percentile := 100 * (1 - math.Pow(10, -nines))
		if i > 0 && !Tells(calls, percentile) {
			break
		}
		x, y = append(x, nines), append(y, log10(calls.At(percentile)))
	}
	return x, y
}

func log10(d time.Duration) float64 {
	return math.Log10(float64(max(d, time.Microsecond)) / float64(time.Millisecond))
}

// percentiles are the ticks 0, 50, 90, 99, 99.9 and so on.
func (s Scale) percentiles() []chartdraw.Tick {
	ticks := []chartdraw.Tick{{Value: 0, Label: "0"}, {Value: math.Log10(2), Label: "50"}, {Value: 1, Label: "90"}}
	for nines := 2; float64(nines) <= s.nines; nines++ {
		ticks = append(ticks, chartdraw.Tick{Value: float64(nines), Label: strconv.FormatFloat(100-math.Pow10(2-nines), 'f', max(0, nines-2), 64)})
	}
	if last := ticks[len(ticks)-1]; last.Value < s.nines { // the axis ends at its last tick
		ticks = append(ticks, chartdraw.Tick{Value: s.nines})
	}
	return ticks
}

// millis are the ticks 1 ms, 2 ms, 5 ms, 10 ms and so on; a wide axis has the powers of ten
// and its ends.
func (s Scale) millis() (ticks []chartdraw.Tick) {
	const wide = 2.5
	for decade := math.Floor(s.least); decade <= s.most; decade++ {
		for _, digit := range []float64{1, 2, 5} {
			value := decade + math.Log10(digit)
			within := value > s.least+1e-9 && value < s.most-1e-9
			end := math.Abs(value-s.least) < 1e-9 || math.Abs(value-s.most) < 1e-9
			if end || within && (digit == 1 || s.most-s.least <= wide) {
				ticks = append(ticks, chartdraw.Tick{Value: value, Label: strconv.FormatFloat(digit*math.Pow(10, decade), 'f', max(0, -int(decade)), 64) + " ms"})
			}
		}
	}
	return ticks
}
