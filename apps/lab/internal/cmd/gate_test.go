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

// A pull request passes the gate of diff.yml with a new image, and not with what
// wants a person's word.
func TestWorkflowGate(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skipf("runners have bash, this machine has not: %v", err)
	}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{name: "image", change: retag(nextTag(t))},
		{name: "latest", change: retag("latest")}, // which check refuses
		{name: "rights", want: "lab: rbac: k8s-api: Role grpc-lb-k8s-api/echo-client: ", change: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, filepath.Join(dir, "overlays/k8s-api/role.yaml"), "      - watch\n", "      - watch\n      - delete\n")
		}},
		{name: "selector", want: "lab: immutable: ", change: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, filepath.Join(dir, "base/echo-server/deployment.yaml"), "app.kubernetes.io/name: echo-server", "app.kubernetes.io/name: echo")
		}},
		{name: "renamed_overlay", want: "lab: pruned: dns: ", change: func(t *testing.T, dir string) {
			t.Helper()
			git(t, dir, "mv", "overlays/dns", "overlays/names")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t)
			test.change(t, dir)
			commit(t, dir)
			code, out := diffStep(t, "gate", dir, filepath.Dir(lab))
			if (code != 0) != (test.want != "") || !strings.HasPrefix(out, test.want) {
				t.Errorf("the gate says %q and ends with %d, want %q and to fail if that is something", out, code, test.want)
			}
		})
	}
}

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
			code, out := diffStep(t, "gate", test.dir, filepath.Dir(lab), "GITHUB_API_URL="+api.URL, "GITHUB_REPOSITORY=o/r", "NUMBER=7", "HEAD="+head, "GH_TOKEN=secret")
			if (code == 0) != test.passes || !strings.Contains(out, test.want) || strings.Contains(out, "secret") {
				t.Errorf("the gate ends with %d and says %q, want it to pass: %t, and %q", code, out, test.passes, test.want)
			}
		})
	}
}

// The other step leaves the difference beside the tree, for the summary and for a
// program, whatever differs, and fails where the lab does.
func TestWorkflowCompare(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skipf("runners have bash, this machine has not: %v", err)
	}
	dir, temp := repository(t), t.TempDir()
	if err := os.Symlink(lab, filepath.Join(temp, "lab")); err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(t.TempDir(), "summary")
	compare := func() (int, string) { return diffStep(t, "compare", dir, temp, "GITHUB_STEP_SUMMARY="+summary) }
	edit(t, filepath.Join(dir, "overlays/k8s-api/role.yaml"), "      - watch\n", "      - watch\n      - delete\n")
	commit(t, dir)
	if code, out := compare(); code != 0 {
		t.Fatalf("it ends with %d: %s", code, out)
	}
	for file, want := range map[string]string{
		filepath.Join(temp, "diff.md"): "Role grpc-lb-k8s-api/echo-client", filepath.Join(temp, "diff.json"): `"rbac"`, summary: "Role grpc-lb-k8s-api/echo-client",
	} {
		if content, err := os.ReadFile(file); err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s: %v, want %q in it:\n%s", file, err, want, content)
		}
	}
	status := exec.CommandContext(t.Context(), "git", "status", "--porcelain")
	status.Dir = dir
	if out, err := status.Output(); err != nil || len(out) > 0 {
		t.Errorf("it leaves in the tree: %s, %v", out, err)
	}
	write(t, filepath.Join(dir, "base/namespace.yaml"), "{")
	if code, out := compare(); code == 0 || !strings.Contains(out, "lab: ") {
		t.Errorf("with a base that does not render it ends with %d and says %q", code, out)
	}
}

// diffStep runs a step of diff.yml in a repository as a runner does; temp is the
// runner's directory, with the lab in it.
func diffStep(t *testing.T, name, dir, temp string, env ...string) (code int, out string) {
	t.Helper()
	step := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", stepOf(t, "diff.yml", "diff", name))
	step.Dir = dir
	step.Env = append(append(os.Environ(), "RUNNER_TEMP="+temp, "XDG_CACHE_HOME="+t.TempDir()), env...)
	said, err := step.CombinedOutput()
	if err != nil && step.ProcessState == nil {
		t.Fatal(err)
	}
	return step.ProcessState.ExitCode(), string(said)
}

// stepOf returns the script of a step of a workflow.
func stepOf(t *testing.T, file, job, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, ".github/workflows", file))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	if err := yaml.Unmarshal(content, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, s := range workflow.Jobs[job].Steps {
		if s.Name == name {
			return s.Run
		}
	}
	t.Fatalf("%s: job %s has no step %q", file, job, name)
	return ""
}
