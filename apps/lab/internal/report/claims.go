package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// sentenceWidth is how wide the sentence of a claim is before it wraps.
const sentenceWidth = 60

// marks of the statuses of claims.
func (s Style) mark(status Status) string {
	switch status {
	case Proven:
		return s.paint(text.FgGreen, "✓")
	case Refuted:
		return s.paint(text.FgRed, "✗")
	default:
		return s.paint(text.FgYellow, "–")
	}
}

// Line is a claim in one line, as it is printed when it is judged.
func (c Claim) Line(style Style) string {
	outcome := cmp.Or(c.Figure, c.attempt().Outcome)
	if c.Status == Refuted {
		outcome = "refuted: " + c.Measured
	}
	if c.Status == NotRun {
		outcome = "not run: " + c.Reason
	}
	outcome, _, _ = strings.Cut(outcome, "\n")
	return fmt.Sprintf("%s %2d %s: %s: %s\n", style.mark(c.Status), c.ID, c.Strategy, c.Text, outcome)
}

// claimsByStrategy lists the claims about each strategy: the sentence and one figure, and
// what was measured of those that are refuted, or of all.
func claimsByStrategy(r Result, n *footnotes, style Style) string {
	var b strings.Builder
	names := names(r.Strategies)
	width := 0
	for _, c := range r.Claims {
		if !slices.Contains(names, c.Strategy) {
			names = append(names, c.Strategy)
		}
		width = min(max(width, len([]rune(c.Text))), sentenceWidth)
	}
	for _, name := range names {
		own := slices.DeleteFunc(slices.Clone(r.Claims), func(c Claim) bool { return c.Strategy != name })
		if len(own) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", style.paint(text.Bold, name))
		slices.SortStableFunc(own, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
		for _, c := range own {
			c.write(&b, width, n, style)
		}
	}
	return b.String()
}

func (c Claim) write(b *strings.Builder, width int, n *footnotes, style Style) {
	const indent = "       "
	outcome := c.Figure
	switch c.Status {
	case NotRun:
		outcome = n.notRun(c.Reason)
	case Refuted:
		outcome = cmp.Or(c.Figure, string(Refuted))
	}
	if c.retried() {
		outcome += fmt.Sprintf(" (attempt %d)", len(c.Before)+1)
	}
	sentence := strings.Split(text.WrapSoft(c.Text, width), "\n")
	for i, part := range sentence {
		head, end := indent, ""
		if i == 0 {
			head = fmt.Sprintf("  %s %2d ", style.mark(c.Status), c.ID)
		}
		if i == len(sentence)-1 {
			end = outcome
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s%s  %s", head, text.Pad(part, width, ' '), end), " ") + "\n")
	}
	if !style.Verbose && c.Status != Refuted {
		return
	}
	for _, line := range c.details() {
		b.WriteString(trimmed(indent+strings.ReplaceAll(text.WrapSoft(line, tableWidth-len(indent)-2), "\n", "\n"+indent+"  ")) + "\n")
	}
}

// retried tells whether an earlier attempt did not prove the claim.
func (c Claim) retried() bool {
	return slices.ContainsFunc(c.Before, func(a Attempt) bool { return a.Status != Proven })
}

// details are what was measured, the limit, and what came out before.
func (c Claim) details() []string {
	limits := "limit: " + c.Limit
	if c.Goal != "" {
		limits += "; goal: " + c.Goal
	}
	lines := []string{limits}
	if c.Status != NotRun {
		lines = []string{"measured: " + c.Measured, limits}
	}
	for i, before := range c.Before {
		if before.Status != Proven { // else it was measured again for another claim's sake
			lines = append(lines, fmt.Sprintf("attempt %d: %s: %s", i+1, before.Status, before.Outcome))
		}
	}
	return lines
}

// Summary is how many claims came out how.
func (r Result) Summary() string {
	count := func(s Status) (n int) {
		for _, c := range r.Claims {
			if c.Status == s {
				n++
			}
		}
		return n
	}
	parts := []string{fmt.Sprintf("%d of %d claims proven", count(Proven), len(r.Claims))}
	for _, s := range []Status{Refuted, NotRun} {
		if n := count(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}
