package diff

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Style decides how Text draws.
type Style struct {
	// Color is for terminals.
	Color bool
}

// Text writes the unified differences and a summary.
func Text(w io.Writer, r Result, style Style) error {
	var b strings.Builder
	for _, overlay := range r.Overlays {
		switch overlay.Change {
		case Added, Removed:
			fmt.Fprintln(&b, style.paint(text.Bold, overlay.Name+" is "+string(overlay.Change)))
		case Skipped:
			fmt.Fprintln(&b, style.paint(text.FgYellow, overlay.Name+" is skipped: "+overlay.Reason))
		}
		for _, w := range overlay.Warnings {
			fmt.Fprintln(&b, style.paint(text.FgYellow, overlay.Name+", before: "+w))
		}
		for _, o := range overlay.Objects {
			fmt.Fprintln(&b, style.paint(text.Bold, heading(overlay, o)))
			if o.Note != "" {
				fmt.Fprintf(&b, "  %s\n", o.Note)
			}
			for _, f := range o.Flags {
				fmt.Fprintf(&b, "  %s %s\n", style.paint(text.FgYellow, f.Name+":"), f.Text)
			}
			if o.Refused != "" {
				fmt.Fprintf(&b, "  %s %s\n", style.paint(text.FgRed, "refused:"), o.Refused)
			}
			for line := range strings.Lines(o.Diff) {
				b.WriteString(style.line(line))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(r.Summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func heading(overlay Overlay, o Object) string {
	return fmt.Sprintf("%s: %s is %s", overlay.Name, o, o.Change)
}

// Summary counts, in a sentence.
func (r Result) Summary() string {
	sides := fmt.Sprintf("from %s to %s", r.Before, r.After)
	compared, differ, objects := 0, 0, map[Change]int{}
	for _, overlay := range r.Overlays {
		if overlay.Change != Skipped {
			compared++
		}
		if overlay.differs() {
			differ++
		}
		for _, o := range overlay.Objects {
			objects[o.Change]++
		}
	}
	if differ == 0 {
		return fmt.Sprintf("%d compared, nothing differs, %s.", compared, sides)
	}
	summary := fmt.Sprintf("%d of %d differ, %s; objects: %d changed, %d added, %d removed",
		differ, compared, sides, objects[Changed], objects[Added], objects[Removed])
	var flags []string
	for _, name := range Flags {
		if n := len(r.Flagged(name)); n > 0 {
			flags = append(flags, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(flags) > 0 {
		summary += "; flags: " + strings.Join(flags, ", ")
	}
	return summary + "."
}

// line paints a line of a unified difference.
func (s Style) line(line string) string {
	content := strings.TrimSuffix(line, "\n")
	switch {
	case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		content = s.paint(text.Bold, content)
	case strings.HasPrefix(line, "@@ "):
		content = s.paint(text.FgCyan, content)
	case strings.HasPrefix(line, "-"):
		content = s.paint(text.FgRed, content)
	case strings.HasPrefix(line, "+"):
		content = s.paint(text.FgGreen, content)
	}
	return content + "\n"
}

func (s Style) paint(c text.Color, v string) string {
	if !s.Color {
		return v
	}
	return c.EscapeSeq() + v + text.Reset.EscapeSeq()
}
