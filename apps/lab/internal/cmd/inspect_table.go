package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
)

// inspectWidth is the most columns that inspect prints, as far as names allow.
const inspectWidth = 100

func (i inspected) write(w io.Writer, output string) error {
	switch output {
	case "json":
		return writeJSON(w, i)
	case "yaml":
		content, err := yaml.Marshal(i)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	var b strings.Builder
	b.WriteString(i.table())
	for _, s := range i.Services {
		fmt.Fprintf(&b, "\n%s/%s\n%s", s.Namespace, s.Name, details(s))
	}
	for n, what := range i.NotSeen {
		if n == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "not seen: %s\n", what)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table puts beside each other what endpoints, name and traffic say of each Service.
func (i inspected) table() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"service", "calls are", "ready pods", "its name gives", "traffic reaches", "findings"})
	for _, s := range i.Services {
		verdict := string(s.Verdict)
		if !s.Measured {
			verdict += " (by objects)"
		}
		t.AppendRow(table.Row{s.Namespace + "/" + s.Name, verdict, fmt.Sprintf("%d of %d", s.Ready, s.Pods), s.Gives, cmp.Or(s.Called.String(), "not seen"), len(s.Faults())})
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 1, WidthMax: 28, WidthMaxEnforcer: text.WrapHard},
		{Number: 2, WidthMax: 13, WidthMaxEnforcer: text.WrapSoft},
		{Number: 5, WidthMax: 16, WidthMaxEnforcer: text.WrapSoft},
		{Number: 6, Align: text.AlignRight},
	})
	return t.Render() + "\n"
}

// details are what was seen of one Service, and what to do.
func details(s *inspect.Service) string {
	var b strings.Builder
	row := func(head, text string) { fmt.Fprintf(&b, "%s\n", wrapped(head, text)) }
	row("endpoints", s.Endpoints)
	row("name", s.Resolved)
	row("traffic", s.Traffic)
	if s.Measurement != nil {
		row("measured", s.Measurement.String())
	}
	if len(s.Clients) == 0 {
		row("client", "none was found: no target in arguments, variables or ConfigMaps leads here")
	}
	for _, c := range s.Clients {
		text := fmt.Sprintf("%s, container %s: %s (%s), policy %s", c.Object, c.Container, c.Target, c.From, c.Policy)
		if c.Chooser != "" {
			text += "; " + strings.TrimSpace(c.Chooser+" chooses "+c.Per)
		}
		row("client", text)
	}
	for _, f := range s.Findings {
		head := "finding"
		if f.Advice {
			head = "note"
		}
		row(head, fmt.Sprintf("%s: %s: %s", f.Name, f.Object, f.Seen))
		row("", f.Why+" To do: "+f.Change+". See "+f.Page+".")
		if f.Patch != "" {
			row("", f.Patch)
		}
	}
	return b.String()
}

// wrapped puts a text beside its head, in lines of at most inspectWidth columns.
func wrapped(head, content string) string {
	const indent = 14
	lines := strings.Split(text.WrapSoft(content, inspectWidth-indent), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(fmt.Sprintf("  %-*s%s", indent-2, head, lines[i]), " ")
		head = ""
	}
	return strings.Join(lines, "\n")
}
