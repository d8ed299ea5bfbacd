package strategy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const (
	missingSecret  = "echo-tls-missing"
	missingTimeout = 20 * time.Second
	// early is how far ahead the clock of who issued a certificate is.
	early = time.Hour
	// notYetValid is part of crypto/x509's sentence about such a certificate.
	notYetValid = "certificate has expired or is not yet valid"
)

// tlsFaults writes what is wrong into the Secret, and then what is right.
var tlsFaults = runner.Experiment{
	Name:    TLSFaults,
	Steady:  noFailure,
	Change:  "let a Job's pod mount a Secret that is not there; write a half of each file into the Secret; then the key of another certificate; then a certificate that is valid in an hour",
	Observe: breakSecret,
	Undo:    mendSecret,
}

// FaultySecret is evidence of what a broken Secret does.
type FaultySecret struct {
	// Kept are the faults that must change nothing.
	Kept []KeptCertificate
	// Early are the reasons by which the lab refused certificates that are not yet valid, by
	// pod, EarlyClient is of a client that met them.
	Early       map[string]string
	EarlyClient *runner.ClientResult
	// Missing is what the lab says of a pod that waits for its Secret.
	Missing string
}

// KeptCertificate is a fault of the Secret, and what new connections showed when the pods had
// read it.
type KeptCertificate struct {
	What string
	// Before and After are serial numbers, or why there is none, by pod.
	Before, After map[string]string
	// Want is part of what servers and clients must log about their files, Said what they do,
	// by pod.
	Want string
	Said map[string]string
}

// Summaries counts the Job's calls.
func (s *FaultySecret) Summaries() []calllog.Summary {
	if s.EarlyClient == nil {
		return nil
	}
	return []calllog.Summary{s.EarlyClient.Summary}
}

func breakSecret(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	switch {
	case env.Certificates == nil:
		return errForeign
	case env.Proxies != nil:
		return errors.New("no claim says what the proxies do with a broken Secret, which they follow by themselves")
	}
	seen := &FaultySecret{Early: map[string]string{}}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	authority := env.Certificates.Authority
	own, err := authority.Issue(pki.Valid(), env.Certificates.Names...)
	if err != nil {
		return err
	}
	d := dialing{own: own, trusted: []*pki.Authority{authority}}
	other, err := authority.Issue(pki.Valid(), env.Certificates.Names...)
	if err != nil {
		return err
	}
	files, err := own.Files(authority)
	if err != nil {
		return err
	}
	key, err := other.KeyPEM()
	if err != nil {
		return err
	}
	if err := missSecret(ctx, env, seen); err != nil {
		return err
	}
	for _, fault := range []struct {
		KeptCertificate
		files pki.Files
	}{
		{KeptCertificate{What: "a half of each file", Want: "found none in its"}, pki.Files{Cert: half(files.Cert), Key: half(files.Key), Roots: half(files.Roots)}},
		{KeptCertificate{What: "the key of another certificate", Want: "private key does not match"}, pki.Files{Cert: files.Cert, Key: key, Roots: files.Roots}},
	} {
		kept, err := keepCertificates(ctx, env, p, d, fault.KeptCertificate, fault.files)
		if err != nil {
			return err
		}
		env.Record.Update(func(*observe.Facts) { seen.Kept = append(seen.Kept, kept) })
	}
	return meetEarly(ctx, env, d, seen)
}

func half(file []byte) []byte { return file[:len(file)/2] }

// keepCertificates breaks the Secret and looks at what new connections show before and after.
func keepCertificates(ctx context.Context, env *runner.Environment, p *observe.Phase, d dialing, kept KeptCertificate, files pki.Files) (_ KeptCertificate, err error) {
	if kept.Before, err = serials(ctx, env, d); err != nil {
		return kept, err
	}
	env.Note("the Secret has %s", kept.What)
	changed := time.Now()
	if err := env.PutSecret(ctx, manifest.TLSSecret, files); err != nil {
		return kept, err
	}
	if err := lookNow(ctx, env); err != nil {
		return kept, err
	}
	kept.Said = map[string]string{}
	if err := env.Await(ctx, rotateTimeout, "servers and clients to say what is wrong with their files", func(f *observe.Facts) string {
		for _, name := range slices.Concat(p.Servers, p.Clients) {
			if kept.Said[name] = badSince(f, name, changed); kept.Said[name] == "" {
				return name + " has not"
			}
		}
		return ""
	}); err != nil && ctx.Err() != nil {
		return kept, err // that one never did is a result
	}
	if err := poll.Sleep(ctx, rotateSlack); err != nil {
		return kept, err
	}
	kept.After, err = serials(ctx, env, d)
	return kept, err
}

// badSince returns the last error that a server or client logged about its files, "" for none.
func badSince(f *observe.Facts, pod string, since time.Time) (text string) {
	var files observe.Files
	if s := f.Servers[pod]; s != nil {
		files = s.Files
	} else if c := f.Clients[pod]; c != nil {
		files = c.Files
	}
	for at, said := range files.Bad {
		if at.After(since) {
			since, text = at, said
		}
	}
	return text
}

// serials connects to every server and proxy.
func serials(ctx context.Context, env *runner.Environment, d dialing) (map[string]string, error) {
	all, err := peersOf(ctx, env)
	if err != nil {
		return nil, err
	}
	shown := map[string]string{}
	for _, p := range all {
		if err := p.forward(ctx, env, func(dial dialer) error {
			looked := p.connect(ctx, dial, d.config(p.name))
			shown[p.pod] = looked.Serial
			if looked.Failed != "" {
				shown[p.pod] = looked.Failed
			}
			return ctx.Err()
		}); err != nil {
			return nil, err
		}
	}
	return shown, nil
}

// meetEarly lets servers and proxies have a certificate that is valid in an hour.
func meetEarly(ctx context.Context, env *runner.Environment, d dialing, seen *FaultySecret) error {
	authority := env.Certificates.Authority
	tomorrow := pki.Valid()
	tomorrow.From = time.Now().Add(early)
	issued, err := putCertificate(ctx, env, authority, tomorrow, authority)
	if err != nil {
		return err
	}
	env.Note("the Secret has a certificate that is valid in an hour")
	if err := lookNow(ctx, env); err != nil {
		return err
	}
	all, err := peersOf(ctx, env)
	if err != nil {
		return err
	}
	later := d
	later.at = tomorrow.From.Add(time.Minute)
	if err := awaitPeers(ctx, env, all, later, func(p Peer) bool { return p.Serial == issued.Serial() }, func(string) {}); err != nil {
		return err
	}
	reasons, err := serials(ctx, env, d)
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.Early = reasons })
	ran, err := callRefused(ctx, env, "tls-early", authority)
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.EarlyClient = &ran })
	return nil
}

// mendSecret writes a certificate that is right, and waits until all use it.
func mendSecret(ctx context.Context, env *runner.Environment) error {
	if env.Certificates == nil {
		return nil
	}
	authority := env.Certificates.Authority
	issued, err := putCertificate(ctx, env, authority, pki.Valid(), authority)
	if err != nil {
		return err
	}
	if err := lookNow(ctx, env); err != nil {
		return err
	}
	all, err := peersOf(ctx, env)
	if err != nil {
		return err
	}
	return awaitPeers(ctx, env, all, dialing{own: issued, trusted: []*pki.Authority{authority}}, func(p Peer) bool { return p.Serial == issued.Serial() }, func(string) {})
}

// missSecret starts a client whose Secret is not there, notes what the lab says of it, and
// removes it.
func missSecret(ctx context.Context, env *runner.Environment, seen *FaultySecret) error {
	job := refusedJob(env, "tls-missing", missingSecret)
	job.Limit = missingTimeout
	_, err := env.RunClient(ctx, job)
	if ctx.Err() != nil {
		return err
	}
	if err == nil {
		return fmt.Errorf("a client ran although Secret %s is not there", missingSecret)
	}
	env.Record.Update(func(*observe.Facts) { seen.Missing = err.Error() })
	background := metav1.DeletePropagationBackground
	return env.Kube.Typed.BatchV1().Jobs(env.Namespace).Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
}

// faultsTold is the limit of a broken Secret: lossless, and each fault has its outcome.
type faultsTold struct{ lossless }

func (l faultsTold) Sentence(dns observe.DNS) string {
	return l.lossless.Sentence(dns) + "; half written or with another key: the certificate stays, and servers and clients log why; not yet valid: refused with the reason within 1 s; missing: the lab's error names the Secret"
}

// toldFaults wants that outcome of each fault.
func toldFaults(f *observe.Facts, p *observe.Phase, limit faultsTold) runner.Verdict {
	seen := observe.EvidenceOf[*FaultySecret](f, TLSFaults)
	if seen == nil || len(seen.Kept) < 2 || len(seen.Early) == 0 || seen.EarlyClient == nil || seen.Missing == "" {
		return runner.NotRun("not every fault was made")
	}
	pods := 0
	for _, k := range seen.Kept {
		pods = len(k.Before)
		for _, pod := range observe.Keys(k.Before) {
			if k.After[pod] != k.Before[pod] {
				return runner.Decided(false, "the Secret has %s: %s showed %s before and %s after", k.What, pod, k.Before[pod], k.After[pod])
			}
		}
		for _, pod := range slices.Concat(p.Servers, p.Clients) {
			if !strings.Contains(k.Said[pod], k.Want) {
				return runner.Decided(false, "the Secret has %s: %s logs %q, expected it to say %q", k.What, pod, k.Said[pod], k.Want)
			}
		}
		if pods == 0 {
			return runner.NotRun("no server was there when the Secret had %s", k.What)
		}
	}
	for _, pod := range observe.Keys(seen.Early) {
		if !strings.Contains(seen.Early[pod], notYetValid) {
			return runner.Decided(false, "%s has a certificate that is not yet valid, and a connection to it gives: %s", pod, seen.Early[pod])
		}
	}
	told := toldIn(*seen.EarlyClient, refused.In(f.DNS), notYetValid)
	if told.Status != report.Proven {
		return told
	}
	if want := fmt.Sprintf("secret %q not found", missingSecret); !strings.Contains(seen.Missing, want) {
		return runner.Decided(false, "the lab does not say %s: %.300s", want, seen.Missing)
	}
	served := undisturbed(f, p, limit.lossless)
	if served.Status == report.Proven {
		served.Measured = fmt.Sprintf("%d servers and proxies keep their certificate when the Secret is half written or has another key, which is logged; not yet valid: %s; missing: named; %s", pods, told.Measured, served.Measured)
	}
	return served
}
