package strategy

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Stream is the name of the experiment.
const Stream = "stream"

const (
	streams       = 3 // clients with one each
	streamRate    = 5 // messages a second
	streamTimeout = 5 * time.Second
	// streamLead is how long streams carry messages before the servers are scaled out.
	streamLead = 3 * time.Second
	// streamTime holds three times the age and grace of the variants that end connections.
	streamTime = 70 * time.Second
	// streamWatch is the least time after the scale-out that shows that streams stay.
	streamWatch = 20 * time.Second
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:   Stream,
		Steady: noFailure,
		Change: fmt.Sprintf("%d Jobs send messages for %s, each on one stream; meanwhile scale the servers to twice as many", streams, runner.Seconds(streamTime)),
		Observe: func(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
			env.Record.Update(func(*observe.Facts) { p.Evidence = &Streams{} })
			all := []func(context.Context) error{func(ctx context.Context) error { return scaleOutBeside(ctx, env, p) }}
			for i := range streams {
				all = append(all, func(ctx context.Context) error { return sendOnStream(ctx, env, streamJob(i)) })
			}
			return alongside(ctx, all...)
		},
		Undo: asBefore,
	},
	Question: "What moves a long stream to another server?",
	Claims: []About{
		{
			Strategies: []string{"l4", "dns", "k8s-api", "envoy"},
			Claim: runner.Claim{
				ID:        59,
				Text:      "a long stream stays on its server through a scale-out, whoever balances",
				Criterion: of(Stream, exactly("1 stream and 1 server a client, 0 messages fail"), streamStays),
			},
		},
		{
			Strategies: []string{"l4-max-age", "dns-max-age"},
			Claim: runner.Claim{
				ID:        60,
				Text:      "with MaxConnectionAge and a limited grace long streams end and move",
				Criterion: of(Stream, withinGrace{Slack: 3 * time.Second}, streamsMove),
			},
		},
		{
			Strategies: []string{"l4", "l4-max-age", "dns", "dns-max-age", "k8s-api", "envoy"},
			Claim: runner.Claim{
				ID:        61,
				Text:      "the log names who answered every message of a stream",
				Criterion: of(Stream, exactly("streams = windows = summary = what the servers counted"), streamsAccounted),
			},
		},
	},
})

// Streams is evidence of clients that sent messages on one stream each.
type Streams struct {
	Ran []runner.ClientResult
}

// Summaries counts the Jobs' calls.
func (s *Streams) Summaries() (all []calllog.Summary) {
	for _, ran := range s.Ran {
		all = append(all, ran.Summary)
	}
	return all
}

func streamJob(i int) string { return fmt.Sprintf("%s-%d", Stream, i+1) }

func sendOnStream(ctx context.Context, env *runner.Environment, job string) error {
	args := slices.Concat(env.Clients.Spec.Template.Spec.Containers[0].Args, []string{
		"--method=stream", "--duration=" + streamTime.String(), fmt.Sprintf("--rate=%d", streamRate), "--timeout=" + streamTimeout.String(),
	})
	ran, err := env.RunClient(ctx, runner.ClientJob{Name: job, Limit: streamTime + runner.SteadyTimeout, Args: args})
	if err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) {
		seen := observe.EvidenceOf[*Streams](f, Stream)
		seen.Ran = append(seen.Ran, ran)
	})
	return nil
}

// scaleOutBeside scales the servers out while the streams carry messages.
func scaleOutBeside(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := env.Await(ctx, runner.SteadyTimeout, "the Jobs' clients", func(f *observe.Facts) string {
		running := 0
		for _, pod := range f.Pods {
			if pod.Labels[batchv1.JobNameLabel] != "" && pod.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if running < streams {
			return fmt.Sprintf("%d of %d run", running, streams)
		}
		return ""
	}); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, streamLead); err != nil {
		return err
	}
	if err := env.Scale(ctx, env.Server, 2*env.Replicas()); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, 2*env.Replicas()); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	return nil
}

// streamLog is what one client logged of its streams.
type streamLog struct {
	observe.Client
	ends []*calllog.StreamEnd
}

func (s *Streams) logs() (all []streamLog) {
	for _, ran := range s.Ran {
		l := streamLog{Client: observe.Client{Summary: &ran.Summary}}
		for _, line := range ran.Log {
			switch line := line.(type) {
			case *calllog.Window:
				l.Windows = append(l.Windows, *line)
			case *calllog.StreamEnd:
				l.ends = append(l.ends, line)
			}
		}
		all = append(all, l)
	}
	return all
}

// streamsOf returns the logs of all clients with a stream, or why there are none.
func streamsOf(f *observe.Facts, p *observe.Phase) ([]streamLog, observe.Reason) {
	seen := observe.EvidenceOf[*Streams](f, Stream)
	if seen == nil || len(seen.Ran) < streams {
		return nil, observe.Reason{Text: "a client with a stream is missing"}
	}
	if len(p.Added) == 0 {
		return nil, observe.Reason{Text: "no server was added beside the streams"}
	}
	return seen.logs(), observe.Reason{}
}

// streamStays wants one stream a client, on one server, long after the last new server
// was ready.
func streamStays(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	logs, why := streamsOf(f, p)
	if logs == nil {
		return runner.NotRunFor(why)
	}
	var scaled time.Time
	for _, server := range p.Added {
		if at := f.Ready[server]; at.After(scaled) {
			scaled = at
		}
	}
	stayed, answered, failed, watched := 0, int64(0), int64(0), time.Hour
	for _, l := range logs {
		servers := observe.Calls(l.Windows)
		answered, failed = answered+servers.Total(), failed+observe.Failures(l.Windows)
		after := l.Between(scaled, p.End)
		if len(after) == 0 || observe.Calls(after).Total() == 0 {
			return runner.NotRun("a client sent no message after the scale-out")
		}
		watched = min(watched, after[len(after)-1].End.Sub(scaled))
		if len(servers) == 1 && len(l.ends) == 1 && l.ends[0].Code == "OK" {
			stayed++
		}
	}
	if watched < streamWatch {
		return runner.NotRun("the streams were watched for %s after the scale-out, %s are needed", runner.Seconds(watched.Round(time.Second)), runner.Seconds(streamWatch))
	}
	return runner.Decided(stayed == len(logs) && failed == 0, "%d of %d streams stayed on their server for %s beside %d new pods, %d messages answered, %d failed",
		stayed, len(logs), runner.Seconds(watched.Round(time.Second)), len(p.Added), answered, failed).With("%d of %d stayed", stayed, len(logs))
}

// withinGrace is how long a stream may live on a server that closes connections by age.
type withinGrace struct {
	// Slack is for the close: grpc-go's server closes a connection a second after it has
	// stopped to write on it, and loses the messages of that second.
	Slack time.Duration
}

func (w withinGrace) Sentence(observe.DNS) string {
	return fmt.Sprintf("each stream ends within 1.1 ages and one grace (and %s), and the next ones lead to other servers as often as chance gives within %d sigma",
		runner.Seconds(w.Slack), distribution.Sigmas)
}

// In returns the limit. gRPC varies the age by a tenth.
func (w withinGrace) In(age, grace time.Duration) time.Duration {
	return age + age/10 + grace + w.Slack
}

// streamsMove wants every stream to end by age and grace, and the next ones to lead to
// other servers as chance does.
func streamsMove(f *observe.Facts, p *observe.Phase, w withinGrace) runner.Verdict {
	logs, why := streamsOf(f, p)
	if logs == nil {
		return runner.NotRunFor(why)
	}
	if f.ConnectionAge == 0 || f.ConnectionAgeGrace == 0 {
		return runner.NotRun("the servers' arguments do not limit both age and grace of a connection")
	}
	var longest time.Duration
	var opened, moved, failed, all int64
	for _, l := range logs {
		failed, all = failed+observe.Failures(l.Windows), all+l.Summary.Calls
		for i, end := range l.ends {
			longest = max(longest, end.Time.Sub(end.Opened))
			if i == 0 {
				continue
			}
			opened++
			if end.Server != l.ends[i-1].Server {
				moved++
			}
		}
		if len(l.ends) < 2 {
			return runner.Decided(false, "a client had %d stream in %s", len(l.ends), runner.Seconds(streamTime))
		}
	}
	limit, least := w.In(f.ConnectionAge, f.ConnectionAgeGrace), leastMoves(opened, len(p.Servers))
	return runner.Decided(longest <= limit && moved >= least, "%d clients opened %d more streams in %s, %d on another server (chance: %d or more); the longest lived %s of %s; %d of %d messages failed",
		len(logs), opened, runner.Seconds(streamTime), moved, least, runner.Seconds(longest.Round(10*time.Millisecond)), runner.Seconds(limit), failed, all).With("%d of %d moved", moved, opened)
}

// streamsAccounted compares the streams' own counts with the windows, the summaries and
// what the servers counted. A stream counts an answer that came too late for its message,
// which then is a failed one.
func streamsAccounted(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	logs, why := streamsOf(f, p)
	if logs == nil {
		return runner.NotRunFor(why)
	}
	var carried int64
	for i, l := range logs {
		if wrong := windowsEqualSummary(&l.Client); wrong != "" {
			return runner.Decided(false, "stream %d: %s", i+1, wrong)
		}
		var calls int64
		for _, end := range l.ends {
			calls += end.Calls
		}
		answered, failed := distribution.Counts(l.Summary.Servers).Total(), distribution.Counts(l.Summary.Failures).Total()
		if calls < answered || calls > answered+failed {
			return runner.Decided(false, "the streams of client %d carried %d answers, the summary says %d, and %d failed", i+1, calls, answered, failed)
		}
		carried += calls
	}
	v := accounted(f, "")
	v.Measured = fmt.Sprintf("%d answers on streams; %s", carried, v.Measured)
	return v
}
