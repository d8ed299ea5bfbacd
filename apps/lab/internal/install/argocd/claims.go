package argocd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Name is what Argo CD's claims are made about.
const Name = "argocd"

// Claim is a sentence about Argo CD, decided by trying it.
type Claim struct {
	ID     int
	Text   string
	Change string // what is done
	// Limit leaves room for a machine five times slower; Goal is what a machine
	// of its own should reach. Wanted is the limit in words.
	Limit  time.Duration
	Wanted string
	Goal   time.Duration
	// try makes the change and returns what was measured. An error that is no
	// problem of the cluster's refutes.
	try func(context.Context, *instance) (measured string, err error)
	// once says that it cannot be tried again: it is about the first sync.
	once bool
	// undo takes the change back, also after an error.
	undo func(context.Context, *instance) error
}

const (
	// firstClaim is what all others start from.
	firstClaim = 20
	// healLimit is for what Argo CD does on its own or on a refresh.
	healLimit = time.Minute
	undoLimit = 3 * time.Minute
)

// Claims lists every claim in the order in which they are tried.
var Claims = []Claim{
	{
		ID: firstClaim, Text: "every Application becomes Synced and Healthy", Change: "apply root.yaml",
		Limit: 150 * time.Second, Goal: 30 * time.Second, try: syncEverything, once: true,
	},
	{
		ID: 30, Text: "the clients are made once the servers are healthy, so dns is even from its first start", Change: "none: the first sync was watched",
		Limit: healLimit, Wanted: fmt.Sprintf("all servers ready before, every client calls all of them in its first %d s and loses no call", settled), try: clientsCameLast, once: true,
	},
	{
		ID: 21, Text: "nothing drifts", Change: fmt.Sprintf("%d hard refreshes of every Application", refreshes),
		Limit: 5 * time.Minute, Wanted: "still Synced, no generation grows, no sync begins", try: nothingDrifts,
	},
	{
		ID: 22, Text: "a commit that changes the client's rate rolls out", Change: "commit another RATE to overlays/k8s-api, refresh",
		Limit: healLimit, Goal: 10 * time.Second, try: commitRollsOut, undo: revertCommit,
	},
	{
		ID: 23, Text: "a manual edit is healed", Change: "scale echo-client of l4 to 1",
		Limit: healLimit, Goal: 10 * time.Second, try: editIsHealed,
	},
	{
		ID: 24, Text: "a deleted object returns", Change: "delete the Service echo-server of l4",
		Limit: healLimit, Goal: 10 * time.Second, try: deletedReturns,
	},
	{
		ID: 25, Text: "kubectl scale of echo-server is not undone, not even by a commit", Change: "scale echo-server of l4 to 4, commit 2 replicas, refresh",
		Limit: healLimit, Wanted: fmt.Sprintf("4 replicas and Synced for %s", scaledTime), try: scaleStays, undo: scaleBack,
	},
	{
		ID: 26, Text: "a file removed from an overlay is pruned", Change: "commit base without its PodDisruptionBudget, refresh",
		Limit: healLimit, Goal: 10 * time.Second, try: removedIsPruned, undo: revertCommit,
	},
	{
		ID: 27, Text: "a broken overlay fails alone and what runs goes on", Change: "commit a patch that is not there to overlays/dns, refresh",
		Limit: healLimit, Wanted: "its message in the conditions, its pods the same, the others Synced and Healthy", try: brokenFailsAlone, undo: revertCommit,
	},
	{
		ID: 41, Text: "after a bad image git revert is in place again, and what ran runs on", Change: "commit an image that is not there to overlays/l4, and git revert while its sync waits",
		Limit: 2 * rollbackLimit, Wanted: fmt.Sprintf("Synced and Healthy within %s of the revert, the same pods, no call lost", rollbackLimit), Goal: 75 * time.Second, try: revertIsQuick, undo: undoBadImage,
	},
	{
		ID: 29, Text: "each AppProject refuses other repositories, namespaces and kinds", Change: "apply an Application of each",
		Limit: healLimit, Wanted: fmt.Sprintf("%d messages, nothing made", len(refused)), try: projectsRefuse, undo: deleteRefused,
	},
	{
		ID: 42, Text: "what a commit drops is deleted once that is confirmed, and no sooner", Change: "commit argocd/ without l4 and overlays/dns without its Namespace, wait, confirm the first, revert",
		Limit: 2 * time.Minute, Wanted: fmt.Sprintf("both syncs ask, all is the same for %s, l4 is gone once confirmed", keptTime), try: droppedStays, undo: takeBack,
	},
	{
		ID: 28, Text: "deleting an Application removes what it made and nothing else", Change: "delete the Application of l4",
		Limit: 2 * time.Minute, try: deletionIsExact, undo: bringBack,
	},
}

// Try installs Argo CD, applies argocd/ and tries every claim. What it returns
// as an error ends the run; that a claim fails does not.
func (a *ArgoCD) Try(ctx context.Context, cfg Config, r progress.Reporter) (*Deployer, []report.Claim, []report.Experiment, error) {
	var s *instance
	var journal []report.Entry
	note := func(format string, args ...any) {
		journal = append(journal, report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)})
	}
	err := progress.Run(ctx, r, "install Argo CD", readyTime, func(ctx context.Context, detail func(string)) (err error) {
		s, err = a.open(ctx, cfg, func(format string, args ...any) {
			note(format, args...)
			detail(journal[len(journal)-1].Text)
		})
		return err
	})
	if err != nil {
		return nil, nil, nil, err
	}
	end := r.Step(tryStep)
	var claims []report.Claim
	var experiments []report.Experiment
	broken := "" // why what follows cannot be tried
	for _, c := range Claims {
		e := report.Experiment{Name: fmt.Sprintf("claim-%d", c.ID), Strategy: Name, Status: report.Measured, Change: c.Change, Started: time.Now(), Journal: journal}
		journal = nil
		s.note = func(format string, args ...any) {
			e.Journal = append(e.Journal, report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)})
			r.Detail(tryStep, e.Journal[len(e.Journal)-1].Text)
		}
		s.source.note = s.note
		var judged report.Claim
		judged, broken = s.judge(ctx, c, broken)
		for range cfg.Retries {
			if judged.Status == report.Proven || c.once || broken != "" || ctx.Err() != nil {
				break
			}
			s.note("try again: %s%s", judged.Measured, judged.Reason)
			var next report.Claim
			next, broken = s.judge(ctx, c, broken)
			judged = next.Since(judged)
		}
		if c.ID == firstClaim && judged.Status != report.Proven && broken == "" {
			broken = fmt.Sprintf("claim %d is not proven: what follows starts from it", c.ID)
		}
		if judged.Status == report.NotRun {
			e.Status, e.Reason = report.NotMeasured, judged.Reason
		}
		e.Finished = time.Now()
		claims, experiments = append(claims, judged), append(experiments, e)
		if ctx.Err() != nil {
			end(context.Cause(ctx))
			return nil, claims, experiments, context.Cause(ctx)
		}
	}
	end(nil)
	if broken != "" {
		return nil, claims, experiments, fmt.Errorf("argocd: %s", broken)
	}
	err = progress.Run(ctx, r, handStep, undoLimit, func(ctx context.Context, detail func(string)) error {
		s.note = func(format string, args ...any) { detail(fmt.Sprintf(format, args...)) }
		return s.handOver(ctx)
	})
	return &Deployer{s}, claims, experiments, err
}

// The steps that Try reports besides the installation.
const (
	tryStep  = "try what Argo CD does"
	handStep = "let go of the Applications"
	// Steps is how many they are.
	Steps = 3
)

// judge tries a claim, unless what came before it could not be undone.
func (s *instance) judge(ctx context.Context, c Claim, broken string) (judged report.Claim, stillBroken string) {
	judged = report.Claim{ID: c.ID, Strategy: Name, Text: c.Text, Limit: c.Wanted, Status: report.Proven}
	if c.Wanted == "" {
		judged.Limit = "within " + c.Limit.String()
	}
	if c.Goal > 0 {
		judged.Goal = c.Goal.String()
	}
	if broken != "" {
		judged.Status, judged.Reason = report.NotRun, broken
		return judged, broken
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.Limit, errLimit)
	began := time.Now()
	measured, err := c.try(limited, s)
	cancel()
	switch {
	case err == nil:
		judged.Measured, judged.Figure = measured, fmt.Sprintf("%.1f s", time.Since(began).Seconds())
	case ctx.Err() != nil:
		judged.Status, judged.Reason = report.NotRun, context.Cause(ctx).Error()
		return judged, judged.Reason
	case errors.Is(err, errLimit), errors.Is(err, errRefuted):
		judged.Status, judged.Measured = report.Refuted, err.Error()
	default:
		judged.Status, judged.Reason = report.NotRun, err.Error()
	}
	if c.undo != nil {
		s.note("undo")
		limited, cancel := context.WithTimeoutCause(ctx, undoLimit, errLimit)
		defer cancel()
		if err := c.undo(limited, s); err != nil {
			return judged, fmt.Sprintf("claim %d was not undone: %v", c.ID, err)
		}
	}
	return judged, ""
}

var (
	errLimit   = errors.New("not within the limit")
	errRefuted = errors.New("refuted")
)

// refuted says that what was seen is not what was claimed.
func refuted(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errRefuted)
}

func since(t time.Time) string { return fmt.Sprintf("%.1f s", time.Since(t).Seconds()) }

// handOver deletes every Application, so that strategies can be deployed one by
// one, and keeps root from bringing them back.
func (s *instance) handOver(ctx context.Context) error {
	if err := s.automate(ctx, rootName, false); err != nil {
		return err
	}
	return s.deleteApps(ctx, s.apps()...)
}
