package diff

import (
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
)

// SummaryLimit is what a step of a GitHub job may write into its summary, in
// bytes; of a longer one nothing is shown.
const SummaryLimit = 1 << 20

// Markdown writes the result for a job's summary, a fold for each object, in at
// most limit bytes. Where it cuts, it says so.
func Markdown(w io.Writer, r Result, limit int) error {
	const room = 256 // for the note
	var b strings.Builder
	fmt.Fprintf(&b, "### What changes in the cluster\n\n%s\n", html.EscapeString(r.Summary()))
	cut := 0
	add := func(part string) {
		if b.Len()+len(part) <= limit-room {
			b.WriteString(part)
		}
	}
	flagged := r.Flagged()
	if len(flagged) > 0 {
		add("\n| flag | where | what |\n|---|---|---|\n")
	}
	for i, f := range flagged {
		row := fmt.Sprintf("| %s | %s | %s |\n", f.Name, cell(f.Overlay+": "+f.Object.String()), cell(f.Text))
		if b.Len()+len(row) > limit/2 { // the rest is for the differences
			add(fmt.Sprintf("| … | | %d more |\n", len(flagged)-i))
			break
		}
		add(row)
	}
	for _, overlay := range r.Overlays {
		switch overlay.Change {
		case Added, Removed:
			add(fmt.Sprintf("\n**%s** is %s.\n", html.EscapeString(overlay.Name), overlay.Change))
		case Skipped:
			add(fmt.Sprintf("\n**%s** is skipped: %s.\n", html.EscapeString(overlay.Name), html.EscapeString(overlay.Reason)))
		}
		for _, w := range overlay.Warnings {
			add(fmt.Sprintf("\n**%s**, before: %s\n", html.EscapeString(overlay.Name), html.EscapeString(w)))
		}
		for _, o := range overlay.Objects {
			before, after := fold(overlay, o)
			switch left := limit - room - b.Len() - len(before) - len(after); {
			case cut > 0: // nothing after the first cut: what fits would be by chance
				cut++
			case left >= len(o.Diff):
				b.WriteString(before + o.Diff + after)
			default:
				if part := wholeLines(o.Diff, left); part != "" {
					b.WriteString(before + part + after)
				}
				cut++
			}
		}
	}
	if cut > 0 {
		fmt.Fprintf(&b, "\n**Cut here**: %d objects are not shown, or not to their end; `lab diff` in a clone shows all.\n", cut)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fold returns what stands before and after an object's difference.
func fold(overlay Overlay, o Object) (before, after string) {
	var b strings.Builder
	title := heading(overlay, o)
	var names []string
	for _, f := range o.Flags {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	if len(names) > 0 {
		title += " (" + strings.Join(names, ", ") + ")"
	}
	fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n", html.EscapeString(title))
	if o.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", html.EscapeString(o.Note))
	}
	if o.Refused != "" {
		fmt.Fprintf(&b, "\nRefused: %s\n", html.EscapeString(strings.Join(strings.Fields(o.Refused), " ")))
	}
	fence := fence(o.Diff)
	fmt.Fprintf(&b, "\n%sdiff\n", fence)
	return b.String(), fence + "\n\n</details>\n"
}

var backticks = regexp.MustCompile("`+")

// fence returns a fence that nothing in a text closes.
func fence(text string) string {
	longest := "``"
	for _, run := range backticks.FindAllString(text, -1) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	return longest + "`"
}

// cell escapes a text for a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(html.EscapeString(strings.Join(strings.Fields(text), " ")), "|", `\|`)
}

// wholeLines returns the first lines of a text that fit into so many bytes.
func wholeLines(text string, limit int) string {
	if limit <= 0 {
		return ""
	}
	return text[:strings.LastIndexByte(text[:min(limit, len(text))], '\n')+1]
}
