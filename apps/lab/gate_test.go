package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// review is one of a pull request's, as GitHub's REST API tells it.
type review struct {
	CommitID          string `json:"commit_id"`
	Body              string `json:"body"`
	AuthorAssociation string `json:"author_association"`
}

// A flag that is raised passes the gate only where somebody with a say in the
// repository wrote flags-reviewed in a review of the very commit: what is pushed
// later wants a word of its own. An error of the lab is no flag, and no word helps.
// A server on loopback stands in for GitHub's API.
func TestWorkflowGateReview(t *testing.T) {
	for _, program := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("runners have %s, this machine has not: %v", program, err)
		}
	}
	const head, earlier = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	flagged := repository(t)
	edit(t, filepath.Join(flagged, "overlays/k8s-api/role.yaml"), "      - watch\n", "      - watch\n      - delete\n")
	commit(t, flagged)
	broken := repository(t)
	write(t, filepath.Join(broken, "base/namespace.yaml"), "{")
	commit(t, broken)

	ok := review{CommitID: head, Body: "Read with care.\r\n\r\nflags-reviewed", AuthorAssociation: "MEMBER"}
	with := func(change func(*review)) []review { r := ok; change(&r); return []review{r} }
	for _, test := range []struct {
		name    string
		dir     string
		reviews []review // nil is an API that fails
		passes  bool
		want    string
	}{
		{name: "reviewed", dir: flagged, reviews: []review{ok}, passes: true, want: "A review of " + head + " says flags-reviewed."},
		{name: "among_others", dir: flagged, reviews: append(with(func(r *review) { r.Body = "" }), ok), passes: true, want: "says flags-reviewed"},
		{name: "no_review", dir: flagged, reviews: []review{}, want: "submit a review of " + head},
		{name: "earlier_commit", dir: flagged, reviews: with(func(r *review) { r.CommitID = earlier }), want: "submit a review of " + head},
		{name: "stranger", dir: flagged, reviews: with(func(r *review) { r.AuthorAssociation = "CONTRIBUTOR" }), want: "submit a review of " + head},
		{name: "in_a_sentence", dir: flagged, reviews: with(func(r *review) { r.Body = "Why flags-reviewed?" }), want: "submit a review of " + head},
		{name: "api_fails", dir: flagged, want: "The requested URL returned error: 403"},
		{name: "lab_fails", dir: broken, reviews: []review{ok}, want: "lab: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.reviews == nil || r.URL.Path != "/repos/o/r/pulls/7/reviews" || r.Header.Get("Authorization") != "Bearer secret" {
					http.Error(w, "{}", http.StatusForbidden)
					return
				}
				_ = json.NewEncoder(w).Encode(test.reviews)
			}))
			defer api.Close()
			code, out := gate(t, test.dir, "GITHUB_API_URL="+api.URL, "GITHUB_REPOSITORY=o/r", "NUMBER=7", "HEAD="+head, "GH_TOKEN=secret")
			if (code == 0) != test.passes || !strings.Contains(out, test.want) || strings.Contains(out, "secret") {
				t.Errorf("the gate ends with %d and says %q, want it to pass: %t, and %q", code, out, test.passes, test.want)
			}
		})
	}
}

// gate runs the step of diff.yml in a repository as a runner does.
func gate(t *testing.T, dir string, env ...string) (code int, out string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, ".github/workflows/diff.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	if err := yaml.Unmarshal(content, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, s := range workflow.Jobs["diff"].Steps {
		if s.Name != "gate" {
			continue
		}
		step := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		step.Dir = dir
		step.Env = append(append(os.Environ(), "RUNNER_TEMP="+filepath.Dir(lab), "XDG_CACHE_HOME="+t.TempDir()), env...)
		said, err := step.CombinedOutput()
		if err != nil && step.ProcessState == nil {
			t.Fatal(err)
		}
		return step.ProcessState.ExitCode(), string(said)
	}
	t.Fatal("diff.yml has no step gate")
	return 0, ""
}
