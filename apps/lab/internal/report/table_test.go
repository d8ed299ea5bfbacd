package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

var update = flag.Bool("update", false, "write the goldens anew")

func fixture(t *testing.T) report.Result {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report.Result
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The table of a run with every kind of row, plain and in colour, is what was
// reviewed.
func TestTable(t *testing.T) {
	for _, test := range []struct {
		name  string
		style report.Style
	}{
		{name: "plain"},
		{name: "color", style: report.Style{Color: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := report.Table(&got, fixture(t), test.style); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "table_"+test.name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// An empty result is drawn too: a run can end before anything was measured.
func TestTableOfNothing(t *testing.T) {
	if err := report.Table(&bytes.Buffer{}, report.Result{}, report.Style{}); err != nil {
		t.Fatal(err)
	}
}

// The result survives its JSON form.
func TestJSONRoundTrip(t *testing.T) {
	want := fixture(t)
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got report.Result
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
}
