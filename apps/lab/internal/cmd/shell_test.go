package main

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// command is one program's call in a script, as words without quotes.
type command []string

// assignment is what env takes before a program's name.
var assignment = regexp.MustCompile(`^\w+=`)

// commands returns the calls of programs in a script, those of loops once a value,
// and what is substituted before what it is part of. Other variables stay as they are.
func commands(t *testing.T, script string) []command {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	var all []command
	var visit func(syntax.Node) bool
	visitAll := func(statements []*syntax.Stmt) {
		for _, s := range statements {
			syntax.Walk(s, visit)
		}
	}
	loops := map[string]string{}
	config := &expand.Config{
		Env: expand.FuncEnviron(func(name string) string {
			if value, ok := loops[name]; ok {
				return value
			}
			return "$" + name
		}),
		CmdSubst: func(w io.Writer, s *syntax.CmdSubst) error {
			visitAll(s.Stmts)
			_, err := io.WriteString(w, "$()")
			return err
		},
	}
	literal := func(word *syntax.Word) string {
		text, err := expand.Literal(config, word)
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return text
	}
	visit = func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.ForClause:
			loop := n.Loop.(*syntax.WordIter)
			for _, item := range loop.Items {
				loops[loop.Name.Value] = literal(item)
				visitAll(n.Do)
			}
			return false
		case *syntax.CallExpr:
			for _, a := range n.Assigns {
				syntax.Walk(a, visit)
			}
			var words command
			for _, word := range n.Args {
				words = append(words, literal(word))
			}
			for len(words) > 0 && (words[0] == "sudo" || words[0] == "env" || assignment.MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 0 {
				all = append(all, words)
			}
			return false
		}
		return true
	}
	visitAll(file.Stmts)
	return all
}

// written returns the files that a script's redirections and tee write to.
func written(t *testing.T, script string) []string {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	config := &expand.Config{Env: expand.FuncEnviron(func(name string) string { return "$" + name })}
	var all []string
	syntax.Walk(file, func(node syntax.Node) bool {
		if r, ok := node.(*syntax.Redirect); ok && r.Op != syntax.DplOut && r.Op != syntax.RdrIn && r.Hdoc == nil {
			text, err := expand.Literal(config, r.Word)
			if err != nil {
				t.Fatalf("%s: %v", script, err)
			}
			all = append(all, text)
		}
		return true
	})
	for _, c := range commands(t, script) {
		if c[0] == "tee" {
			all = append(all, slices.DeleteFunc(c[1:], func(a string) bool { return strings.HasPrefix(a, "-") })...)
		}
	}
	return all
}

// What a script writes is found, and what it reads or passes on is not.
func TestWritten(t *testing.T) {
	got := written(t, `a >b 2>&1 <c | tee -a d "$E/f"; if g >>"$H"; then (i &>j); fi`)
	if diff := cmp.Diff([]string{"b", "$H", "j", "d", "$E/f"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A script's calls are found whatever stands around them.
func TestCommands(t *testing.T) {
	got := commands(t, `a=b sudo env "P=$P" x -y 2>&1 | tee 'a > b' # c; d
if [ "$(e f)" ]; then g >>h; else ! i >"$j" || exit 1; fi
for k in l m; do
  n=$(o "$k#1" \
    p)
done
(cd q && r)`)
	want := []command{
		{"x", "-y"}, {"tee", "a > b"}, {"e", "f"}, {"[", "$()", "]"}, {"g"}, {"i"}, {"exit", "1"},
		{"o", "l#1", "p"}, {"o", "m#1", "p"}, {"cd", "q"}, {"r"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
