package strategy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const (
	// rotateTimeout is longer than the kubelet's period, at most 90 s, and than the programs'.
	rotateTimeout = 3 * time.Minute
	// rotateLook is the time between two connections to a pod.
	rotateLook = time.Second
	// rotateSlack is for the authorities, which programs and proxies read just after the
	// certificate.
	rotateSlack = 3 * time.Second
	// rotateFresh is how many connections a Job opens with the last certificate.
	rotateFresh = 30
	// lookedAt is the annotation by which the lab changes a pod.
	lookedAt = "lab.grpc-lb.dev/looked-at"
)

// tlsRotation replaces the certificates, and then the authority that signs them.
var tlsRotation = runner.Experiment{
	Name:   TLSRotation,
	Steady: noFailure,
	Change: "write another certificate into the Secret; then one more authority; then, while servers are replaced, a certificate of that; then leave the first authority out",
	Observe: func(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
		return (&rotator{env: env, phase: p, seen: &Rotation{}}).rotate(ctx)
	},
	Undo: asBefore,
}

// Rotation is evidence of certificates that were replaced.
type Rotation struct {
	Steps []Rotated
	// Serial is of the last certificate.
	Serial string
	// Replaced are the servers that took the places of others meanwhile.
	Replaced []string
	// Fresh is of a client that opened new connections after all.
	Fresh *runner.ClientResult
}

// Summaries counts the Job's calls.
func (r *Rotation) Summaries() []calllog.Summary {
	if r.Fresh == nil {
		return nil
	}
	return []calllog.Summary{r.Fresh.Summary}
}

// Rotated is what became of one change of the Secret.
type Rotated struct {
	What string
	// At is when the Secret was changed, and the pods where that hurried them.
	At time.Time
	// Hurried says that the lab changed the pods, too: then the kubelet reads the Secret at
	// once, and not within its period.
	Hurried bool
	// Pods are those that must have the certificate, Seen is when each did: servers and
	// proxies when they showed it on a new connection, clients when they logged it.
	Pods []string
	Seen map[string]time.Time
}

// slowest returns how long the last pod took, and the pod that never showed the change.
func (r Rotated) slowest() (after time.Duration, never string) {
	for _, pod := range r.Pods {
		at, seen := r.Seen[pod]
		if !seen {
			return 0, pod
		}
		after = max(after, at.Sub(r.At))
	}
	return after, ""
}

// rotator replaces certificates step by step.
type rotator struct {
	env   *runner.Environment
	phase *observe.Phase
	seen  *Rotation
	both  []*pki.Authority // the first and the second
}

// errForeign says that the pods' certificates are not the lab's.
var errForeign = errors.New("the overlay brings certificates of its own: leave its Secret or Certificate " + manifest.TLSSecret + " out, and the lab issues others")

// change is one of the Secret.
type change struct {
	what    string
	by      *pki.Authority   // signs the certificate
	trusted []*pki.Authority // are in ca.crt
	// hurried says that the lab changes the pods, too, see [Rotated].
	hurried bool
	// meanwhile is done when the Secret has been changed.
	meanwhile func(context.Context) error
	// shown says what a peer must show beside the certificate; nil is nothing.
	shown func(Peer) bool
}

func (r *rotator) rotate(ctx context.Context) error {
	if r.env.Certificates == nil {
		return errForeign
	}
	r.env.Record.Update(func(*observe.Facts) { r.phase.Evidence = r.seen })
	first := r.env.Certificates.Authority
	second, err := pki.NewAuthority("grpc-lb lab " + r.env.Strategy.Name + " 2")
	if err != nil {
		return err
	}
	r.both = []*pki.Authority{first, second}
	for _, c := range []change{
		{what: "another certificate", by: first, trusted: r.both[:1]},
		{what: "one more authority", by: first, trusted: r.both, hurried: true, shown: func(p Peer) bool { return asks(p, second) }},
		{what: "a certificate of the other authority", by: second, trusted: r.both, hurried: true, meanwhile: r.replace},
		{what: "the first authority left out", by: second, trusted: r.both[1:], hurried: true, shown: func(p Peer) bool { return !asks(p, first) }},
	} {
		if complete, err := r.make(ctx, c); err != nil || !complete {
			return err
		}
	}
	return r.connectAnew(ctx)
}

// make changes the Secret and waits until every pod has it. That one never had is a result.
func (r *rotator) make(ctx context.Context, c change) (complete bool, err error) {
	env := r.env
	issued, err := putCertificate(ctx, env, c.by, pki.Valid(), c.trusted...)
	if err != nil {
		return false, err
	}
	env.Certificates.Authority = c.by
	s := Rotated{What: c.what, At: time.Now(), Hurried: c.hurried, Seen: map[string]time.Time{}}
	if c.meanwhile != nil {
		if err := c.meanwhile(ctx); err != nil {
			return false, err
		}
	}
	if c.hurried {
		s.At = time.Now()
		if err := lookNow(ctx, env); err != nil {
			return false, err
		}
	}
	all, err := peersOf(ctx, env)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		s.Pods = append(s.Pods, p.pod)
	}
	s.Pods = append(s.Pods, r.phase.Clients...)
	env.Record.Update(func(*observe.Facts) { r.seen.Steps, r.seen.Serial = append(r.seen.Steps, s), issued.Serial() })
	env.Note("the Secret has %s: wait until %d servers, proxies and clients have it", c.what, len(s.Pods))
	if err := awaitPeers(ctx, env, all, dialing{own: issued, trusted: r.both}, func(p Peer) bool {
		return p.Serial == issued.Serial() && (c.shown == nil || len(p.Asked) == 0 || c.shown(p))
	}, func(pod string) {
		env.Record.Update(func(*observe.Facts) { s.Seen[pod] = time.Now() })
	}); err != nil {
		return false, err
	}
	if err := r.awaitClients(ctx, s, issued.Serial()); err != nil {
		return false, err
	}
	after, never := s.slowest()
	if never != "" {
		env.Note("%s does not have it in %s", never, runner.Seconds(rotateTimeout))
		return false, nil
	}
	env.Note("the last pod has it after %s", runner.Seconds(after.Round(10*time.Millisecond)))
	return true, poll.Sleep(ctx, rotateSlack)
}

// awaitClients waits until the clients log that they have the certificate, or for long enough.
func (r *rotator) awaitClients(ctx context.Context, s Rotated, serial string) error {
	err := r.env.Await(ctx, time.Until(s.At.Add(rotateTimeout)), "the clients to read their files", func(f *observe.Facts) string {
		for _, name := range r.phase.Clients {
			at, has := f.Clients[name].InUse[serial]
			if !has {
				return name + " has not"
			}
			s.Seen[name] = at
		}
		return ""
	})
	if ctx.Err() != nil {
		return err
	}
	return nil // that one never did is a result
}

// putCertificate writes a certificate of an authority into the Secret.
func putCertificate(ctx context.Context, env *runner.Environment, by *pki.Authority, v pki.Validity, trusted ...*pki.Authority) (*pki.Certificate, error) {
	issued, err := by.Issue(v, env.Certificates.Names...)
	if err != nil {
		return nil, err
	}
	files, err := issued.Files(trusted...)
	if err != nil {
		return nil, err
	}
	return issued, env.PutSecret(ctx, manifest.TLSSecret, files)
}

// awaitPeers connects to peers until they show what they must, or for long enough, and says
// when each did.
func awaitPeers(ctx context.Context, env *runner.Environment, all []peer, d dialing, shown func(Peer) bool, seen func(pod string)) error {
	limited, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	var group errgroup.Group
	for _, p := range all {
		group.Go(func() error {
			return p.forward(ctx, env, func(dial dialer) error {
				for limited.Err() == nil {
					if looked := p.connect(limited, dial, d.config(p.name)); looked.Failed == "" && shown(looked) {
						seen(p.pod)
						return nil
					}
					_ = poll.Sleep(limited, rotateLook) // its end is asked for above
				}
				return ctx.Err()
			})
		})
	}
	return group.Wait()
}

// asks tells whether a peer accepts clients' certificates of the authority.
func asks(p Peer, a *pki.Authority) bool {
	return slices.ContainsFunc(p.Asked, func(subject []byte) bool { return bytes.Equal(subject, a.Subject()) })
}

// replace lets clients and proxies connect anew while some servers have the old certificate
// and some the new one: by a rollout, or where clients learn of servers too slowly for that,
// by the end of one server.
func (r *rotator) replace(ctx context.Context) error {
	env, p := r.env, r.phase
	before := []string{}
	env.Record.Look(func(f *observe.Facts) { before = f.ReadyNow() })
	if !env.Strategy.ByName {
		if err := restartRolling(ctx, env, &observe.Phase{Servers: before}); err != nil {
			return err
		}
		r.replaced(before)
		return nil
	}
	server := ""
	env.Record.Look(func(f *observe.Facts) { server = busiest(f, p, before) })
	if server == "" {
		return fmt.Errorf("no server is ready")
	}
	if err := env.DeletePod(ctx, server); err != nil {
		return err
	}
	if err := env.Await(ctx, runner.ShutdownTimeout, "the end of "+server, func(f *observe.Facts) string {
		if s := f.Servers[server]; s != nil && !s.Ended {
			return "it still runs"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, env.Replicas()); err != nil {
		return err
	}
	r.replaced(before)
	err := env.Await(ctx, relearning.In(env.DNS), "the clients to call the new server", func(f *observe.Facts) string {
		return uncalled(f, p.Clients, r.seen.Replaced)
	})
	if err != nil && ctx.Err() != nil {
		return err // that they never called it is a result
	}
	return nil
}

// replaced notes which servers were not there before.
func (r *rotator) replaced(before []string) {
	r.env.Record.Update(func(f *observe.Facts) { r.seen.Replaced = runner.Without(f.ReadyNow(), before) })
}

// connectAnew runs a client that makes each call on a new connection.
func (r *rotator) connectAnew(ctx context.Context) error {
	to, err := runner.Target(r.env.Clients.Spec.Template)
	if err != nil {
		return err
	}
	ran, err := r.env.RunClient(ctx, runner.ClientJob{
		Name: TLSRotation, Limit: runner.SteadyTimeout, MayFail: true,
		Args: []string{to, fmt.Sprintf("--fresh-connections=%d", rotateFresh)},
	})
	if err != nil {
		return err
	}
	r.env.Record.Update(func(*observe.Facts) { r.seen.Fresh = &ran })
	return nil
}

// lookNow lets the kubelets read the pods' Secrets now: they do when a pod changes, and
// otherwise once in a period of 60 to 90 s.
func lookNow(ctx context.Context, env *runner.Environment) error {
	var pods []string
	env.Record.Look(func(f *observe.Facts) {
		for _, name := range observe.Keys(f.Pods) {
			if f.Pods[name].DeletionTimestamp == nil {
				pods = append(pods, name)
			}
		}
	})
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, lookedAt, time.Now().Format(time.RFC3339Nano))
	for _, name := range pods {
		if _, err := env.Kube.Typed.CoreV1().Pods(env.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("annotating pod %s: %w", name, err)
		}
	}
	return nil
}
