package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the result for a pull request: the comparison, the claims that are not
// proven, and what moved since an earlier result, which may be nil.
func Markdown(w io.Writer, r Result, moved *Moved) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**, measured on %s by `%s`\n\n", r.Summary(), r.Started.UTC().Format("2006-01-02 15:04 UTC"), r.Command)
	markdownRow(&b, Columns)
	b.WriteString(strings.Repeat("| --- ", len(Columns)) + "|\n")
	for _, s := range r.Strategies {
		markdownRow(&b, append([]string{s.Name}, Cells(r, s)...))
	}
	if rest := notProven(r.Claims); len(rest) > 0 {
		b.WriteString("\n| claim | strategy | sentence | outcome |\n| --- | --- | --- | --- |\n")
		for _, c := range rest {
			markdownRow(&b, []string{fmt.Sprint(c.ID), c.Strategy, c.Text, string(c.Status) + ": " + c.attempt().Outcome})
		}
	}
	if moved != nil {
		fmt.Fprintf(&b, "\nWhat moved since %s. %s\n\n", moved.Since.UTC().Format("2006-01-02 15:04 UTC"), moved.Rule)
		if len(moved.Changes) == 0 {
			b.WriteString("Nothing moved.\n")
		} else {
			b.WriteString("| strategy | what | before | now |\n| --- | --- | --- | --- |\n")
		}
		for _, c := range moved.Changes {
			markdownRow(&b, []string{c.Strategy, c.What, c.Before, c.Now})
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func notProven(claims []Claim) (rest []Claim) {
	for _, c := range claims {
		if c.Status != Proven {
			rest = append(rest, c)
		}
	}
	return rest
}

// markdownRow writes a row of a table. Text of others can hold what would end a cell.
func markdownRow(b *strings.Builder, cells []string) {
	escape := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;")
	for _, c := range cells {
		b.WriteString("| " + escape.Replace(c) + " ")
	}
	b.WriteString("|\n")
}
