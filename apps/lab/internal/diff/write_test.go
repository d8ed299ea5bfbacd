package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
)

// result is one of each change.
func result(t *testing.T) diff.Result {
	t.Helper()
	return compare(t,
		diff.Unit{Name: "same", Before: decode(t, service), After: decode(t, service)},
		diff.Unit{Name: "new", After: decode(t, service), Change: diff.Added},
		diff.Unit{Name: "other", Before: decode(t, deployment), After: decode(t, edit(t, deployment, "web:1", "web:2|```<b>", "[--a, --b]", "['```', --b]"))},
		diff.Unit{Name: "argocd", Change: diff.Skipped, Reason: "the cluster does not serve it"},
	)
}

// The text is headings, flags and unified differences, and ends with the counts;
// colours change none of it.
func TestText(t *testing.T) {
	const want = `new is added
new: Service ns/web is added
--- /dev/null
+++ after/new/Service/ns/web
@@ -0,0 +1,12 @@
+apiVersion: v1
+kind: Service
+metadata:
+  name: web
+  namespace: ns
+spec:
+  clusterIP: None
+  ports:
+  - name: a
+    port: 80
+  - name: b
+    port: 90

other: Deployment ns/web is changed
  image: container web: web:1 becomes web:2|§<b>
--- before/other/Deployment/ns/web
+++ after/other/Deployment/ns/web
@@ -14,9 +14,9 @@
     spec:
       containers:
       - args:
-        - --a
+        - '§'
         - --b
-        image: web:1
+        image: web:2|§<b>
         name: web
         ports:
         - containerPort: 80

argocd is skipped: the cluster does not serve it
2 of 3 differ, from one side to the other; objects: 1 changed, 1 added, 0 removed; flags: image 1.
`
	var plain, colored strings.Builder
	if err := diff.Text(&plain, result(t), diff.Style{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(want, "§", "```"), plain.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if err := diff.Text(&colored, result(t), diff.Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(colored.String(), "\x1b[32m+        image: web:2|```<b>\x1b[0m\n") {
		t.Errorf("no green line:\n%q", colored.String())
	}
	for _, escape := range []string{"\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"} {
		stripped := strings.ReplaceAll(colored.String(), escape, "")
		colored.Reset()
		colored.WriteString(stripped)
	}
	if diff := cmp.Diff(plain.String(), colored.String()); diff != "" {
		t.Errorf("without colours (-plain +colored):\n%s", diff)
	}
}

// Where nothing differs, the summary says what was compared.
func TestSummaryOfNothing(t *testing.T) {
	r := compare(t, diff.Unit{Name: "same", Before: decode(t, service), After: decode(t, service)})
	if got, want := r.Summary(), "1 compared, nothing differs, from one side to the other."; got != want {
		t.Errorf("Summary() = %q, want %q", got, want)
	}
}

// Markdown folds each object; nothing in an object ends its fence, its cell or
// its fold.
func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := diff.Markdown(&b, result(t), diff.SummaryLimit); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n2 of 3 differ, from one side to the other; objects: ",
		"\n| image | other: Deployment ns/web | container web: web:1 becomes web:2\\|```&lt;b&gt; |\n",
		"\n**new** is added.\n",
		"\n**argocd** is skipped: the cluster does not serve it.\n",
		"\n<details><summary>new: Service ns/web is added</summary>\n\n```diff\n--- /dev/null\n",
		"\n<details><summary>other: Deployment ns/web is changed (image)</summary>\n\n````diff\n--- before/",
		"+        - '```'\n",
		"\n````\n\n</details>\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("Markdown lacks %q:\n%s", want, b.String())
		}
	}
}

// However much differs, the summary's limit is kept, folds and fences are
// closed, and a note says what is missing.
func TestMarkdownLimit(t *testing.T) {
	var objects []diff.Object
	for i := range 50 {
		o := diff.Object{Kind: "ConfigMap", Name: fmt.Sprint("c", i), Change: diff.Added, Diff: strings.Repeat("+ä line\n", 100)}
		for range 10 {
			o.Flags = append(o.Flags, diff.Flag{Name: diff.FlagRBAC, Text: strings.Repeat("x", 50)})
		}
		objects = append(objects, o)
	}
	r := diff.Result{Overlays: []diff.Overlay{{Name: "x", Change: diff.Changed, Objects: objects}}}
	whole := 0
	for _, limit := range []int{2000, 20_000, 20_001, 20_002, 30_000, diff.SummaryLimit} {
		var b strings.Builder
		if err := diff.Markdown(&b, r, limit); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if len(text) > limit {
			t.Errorf("limit %d: %d bytes", limit, len(text))
		}
		if strings.Count(text, "<details>") != strings.Count(text, "</details>") || strings.Count(text, "```")%2 != 0 {
			t.Errorf("limit %d: a fold or a fence stays open", limit)
		}
		shown := strings.Count(text, "<details>")
		var missing int
		if _, note, cut := strings.Cut(text, "**Cut here**: "); cut {
			_, _ = fmt.Sscan(note, &missing)
		}
		if partly := shown+missing == len(objects)+1; shown+missing != len(objects) && !partly {
			t.Errorf("limit %d: %d objects are shown and %d missing, of %d", limit, shown, missing, len(objects))
		}
		if missing == 0 {
			whole++
		}
	}
	if whole != 1 {
		t.Errorf("%d texts are whole, want that of the real limit alone", whole)
	}
}
