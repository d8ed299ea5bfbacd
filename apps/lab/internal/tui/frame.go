package tui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
)

// blocks are the heights of a bar, from few calls to as many as the busiest pod has.
var blocks = []rune("▁▂▃▄▅▆▇█")

const (
	nameWidth = 8 // the end of a pod's name, with a mark before it
	rateWidth = 9 // "1234/s"
	// journalled is how many entries of the journal are shown.
	journalled = 3
	minWidth   = 20
	// shortest is how many lines show a strategy: its title, its marks and two pods.
	shortest = 4
)

// screen is what the terminal shows at one moment, apart from the stage's view.
type screen struct {
	width, height int
	chosen        int    // the strategy that the keys act on
	said          string // what the last key came to
	progress      string // what the lab does meanwhile
}

// frame draws the view as lines that fit the screen. Pods that find no room are counted.
func (s screen) frame(v stage.View) string {
	width := max(s.width, minWidth)
	head := []string{bold("Calls a second of each server pod; a column is a second, the newest is on the right.")}
	if s.progress != "" {
		head = append(head, s.progress)
	}
	foot := s.footer(v, width, s.height/3)
	room := s.height - len(head) - len(foot)
	share := room / max(len(v.Strategies), 1)
	alone := share < shortest // then only the chosen strategy has room
	if alone {
		share = room
	}
	var body []string
	for i, st := range v.Strategies {
		if alone && i != s.chosen {
			continue
		}
		body = append(body, s.strategy(st, i == s.chosen, width, share)...)
	}
	lines := slices.Concat(head, body[:min(len(body), max(room, 0))], foot)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width, "…")
	}
	return strings.Join(lines[:min(len(lines), max(s.height, 1))], "\n")
}

// strategy draws one in at most so many lines.
func (s screen) strategy(st stage.Strategy, chosen bool, width, most int) []string {
	title := "  " + bold(st.Name)
	if chosen {
		title = "▸ " + ansi.Style{}.Bold().Reverse(true).Styled(st.Name)
	}
	lines := []string{title + "  " + clean(state(st))}
	if len(st.InForce) > 0 {
		lines = append(lines, "  in force: "+clean(strings.Join(st.InForce, "; ")))
	}
	if st.Silent != "" {
		lines = append(lines, "  "+clean(st.Silent))
	}
	if st.Timeline == nil {
		return lines
	}
	columns := max(width-nameWidth-rateWidth, 1)
	from := st.Timeline.Bins - columns // before the first bin where there are few
	lines = append(lines, marks(st, from))
	full := st.Timeline.Busiest()
	room := max(most-len(lines), 1)
	for i, l := range st.Timeline.Lanes {
		if i == room-1 && len(st.Timeline.Lanes) > room {
			lines = append(lines, fmt.Sprintf("  and %d more pods", len(st.Timeline.Lanes)-i))
			break
		}
		lines = append(lines, lane(st, l, from, full))
	}
	return lines
}

// state says who balances, or why nothing is seen.
func state(st stage.Strategy) string {
	switch {
	case st.Reason != "":
		return "not shown: " + st.Reason
	case st.Balancer == "":
		return "it starts"
	case !st.Running:
		return st.Balancer + "; it has ended"
	case st.Timeline == nil:
		return st.Balancer + "; no call was seen yet"
	}
	return st.Balancer
}

// marks is the line of what was done, each above the second in which it was.
func marks(st stage.Strategy, from int) string {
	line := ""
	for _, m := range st.Marks {
		column := nameWidth + st.Timeline.At(m.Time) - from
		if gap := column - ansi.StringWidth(line); column >= nameWidth && gap >= 0 {
			line += strings.Repeat(" ", gap) + "▾" + clean(m.Text)
		}
	}
	return line
}

// lane is a pod: the end of its name, a bar for each second, and the calls of the last
// second that is counted. A point is a second in which a ready pod got no call.
func lane(st stage.Strategy, l report.Lane, from int, full int64) string {
	t := st.Timeline
	counted := min(max(t.At(st.Counted), 0), t.Bins)
	name := clean(l.Server[strings.LastIndexByte(l.Server, '-')+1:])
	var bars strings.Builder
	last := int64(0)
	bars.WriteString(strings.Repeat(" ", max(-from, 0)))
	for bin := max(from, 0); bin < t.Bins; bin++ {
		n := l.Total(bin)
		moment := t.Start.Add(t.Step() * time.Duration(bin))
		there := !l.Ready.IsZero() && !moment.Before(l.Ready.Add(-t.Step())) && (l.Left.IsZero() || moment.Before(l.Left))
		switch {
		case bin >= counted && bin == t.At(l.FirstCall):
			bars.WriteRune(blocks[0]) // it is called, though not all calls are counted
		case bin >= counted:
			bars.WriteByte(' ')
		case n > 0:
			bars.WriteRune(blocks[min(int(n*int64(len(blocks))/max(full+1, 1)), len(blocks)-1)])
		case there:
			bars.WriteRune('·')
		default:
			bars.WriteByte(' ')
		}
		if bin == counted-1 {
			last = n
		}
	}
	rate := strconv.FormatInt(last, 10) + "/s"
	switch {
	case !l.Left.IsZero():
		rate = "gone"
	case l.Ready.IsZero():
		rate = "unready"
	}
	line := fmt.Sprintf("  %-*s%s %*s", nameWidth-2, ansi.Truncate(name, nameWidth-3, ""), bars.String(), rateWidth-1, rate)
	if !l.Left.IsZero() {
		return ansi.Style{}.Faint().Styled(line)
	}
	return line
}

// footer has the journal, what the last key came to, and the keys, in at most so many
// lines: the journal gives way first.
func (s screen) footer(v stage.View, width, most int) []string {
	keys := s.keys(v, width)
	keys = keys[:min(len(keys), max(most, 1))]
	var lines []string
	for _, e := range v.Journal[:min(len(v.Journal), journalled, max(most-len(keys), 0))] {
		lines = append(lines, e.Time.Format("15:04:05 ")+clean(e.Text))
	}
	slices.Reverse(lines)
	return append(lines, keys...)
}

// keys says what the last key came to, and what the keys do.
func (s screen) keys(v stage.View, width int) []string {
	var lines []string
	if s.said != "" {
		for line := range strings.SplitSeq(ansi.Wordwrap(clean(s.said), width, ""), "\n") {
			lines = append(lines, bold(line))
		}
	}
	keys := []string{"Tab: next strategy", "q: end"}
	if s.chosen < len(v.Strategies) {
		for i, o := range v.Strategies[s.chosen].Actions {
			key := fmt.Sprintf("%d: %s", i+1, clean(o.Text))
			if o.Off != "" {
				key = ansi.Style{}.Faint().Styled(key + " (off)")
			}
			keys = append(keys, key)
		}
	}
	line := ""
	for _, key := range keys {
		if line != "" && ansi.StringWidth(line)+2+ansi.StringWidth(key) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += "  "
		}
		line += key
	}
	return append(lines, line)
}

func bold(text string) string { return ansi.Style{}.Bold().Styled(text) }

// clean keeps what a cluster says from steering the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
