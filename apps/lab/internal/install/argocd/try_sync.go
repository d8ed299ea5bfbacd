package argocd

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// refreshes is how often everything is rendered and compared anew.
const refreshes = 10

// watchedApp is the Application whose clients must come last.
const watchedApp = "grpc-lb-dns"

// firstSync is what was seen of the watched Application's first sync.
type firstSync struct {
	ready  int       // servers that were ready when the clients' Deployment appeared
	since  time.Time // when all of them were first seen ready
	client time.Time // when the clients' Deployment was first seen
	err    error
}

// syncEverything applies root.yaml and waits for all that it brings.
func syncEverything(ctx context.Context, s *instance) (string, error) {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan firstSync)
	go func() { watched <- s.watchFirst(watching) }()
	defer func() {
		stop()
		s.first = <-watched
	}()
	if err := s.applyRoot(ctx); err != nil {
		return "", err
	}
	if err := s.until(ctx, append(s.able(), rootName), (*App).fine); err != nil {
		return "", err
	}
	measured := []string{fmt.Sprintf("root and %d Applications after %s", len(s.able()), since(s.applied))}
	for _, name := range slices.Sorted(maps.Keys(s.unable)) {
		if err := s.until(ctx, []string{name}, (*App).waiting); err != nil {
			return "", err
		}
		measured = append(measured, fmt.Sprintf("%s is applied and waits for its pods, not run: %s", name, s.unable[name]))
	}
	return strings.Join(measured, "; "), nil
}

// watchFirst looks at the watched Application's servers until its clients are
// made.
func (s *instance) watchFirst(ctx context.Context) (f firstSync) {
	f.err = poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		_, err := s.kube.Typed.AppsV1().Deployments(watchedApp).Get(ctx, "echo-client", metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return "", err
		}
		if err == nil {
			f.client = time.Now()
			return "", nil
		}
		slices, err := s.kube.Typed.DiscoveryV1().EndpointSlices(watchedApp).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=echo-server"})
		if err != nil {
			return "", err
		}
		if f.ready = readyIn(slices.Items); f.ready == servers && f.since.IsZero() {
			f.since = time.Now()
		}
		return "the clients' Deployment was not made", nil
	})
	return f
}

// servers is how many base has.
const servers = 3

func readyIn(slices []discoveryv1.EndpointSlice) int {
	n := 0
	for _, s := range slices {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n++
			}
		}
	}
	return n
}

// clientsCameLast judges what was seen of the first sync, and the logs of the
// clients that it started: each must call all servers as soon as it is connected
// to them. One that had started before them would not, for it looks them up anew
// only when it loses one.
func clientsCameLast(ctx context.Context, s *instance) (string, error) {
	f := s.first
	if f.err != nil {
		return "", f.err
	}
	if f.ready < servers {
		return "", refuted("the clients were made when %d of %d servers were ready", f.ready, servers)
	}
	clients, slowest := 0, 0
	err := poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		pods, err := s.kube.Typed.CoreV1().Pods(watchedApp).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=echo-client"})
		if err != nil {
			return "", err
		}
		clients = len(pods.Items)
		for _, p := range pods.Items {
			raw, err := s.kube.Typed.CoreV1().Pods(watchedApp).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
			if err != nil {
				return "", err
			}
			windows := windowsOf(raw)
			took, failed := untilAll(windows, servers)
			switch {
			case failed > 0:
				return "", refuted("%d of the first calls of %s failed", failed, p.Name)
			case took > 0:
				slowest = max(slowest, took)
			case len(windows) >= settled:
				return "", refuted("in the first %d s of its life %s was answered by %d servers", settled, p.Name, len(answers(windows[:settled])))
			default:
				return p.Name + " does not call every server yet", nil
			}
		}
		if clients == 0 {
			return "there is no client", nil
		}
		return "", nil
	})
	return fmt.Sprintf("the clients were made %.1f s after the last of %d servers was ready; each of %d clients called all of them within its first %d s, and lost no call",
		f.client.Sub(f.since).Seconds(), servers, clients, slowest), err
}

// settled is when a client that knows a server is connected to it, in seconds of
// its life: a busy machine takes some.
const settled = 15

// untilAll returns after how many windows, each of a second, that many servers had
// answered, 0 for never, and how many calls had failed by then. One that missed
// its deadline is none of these: that is what a busy machine does.
func untilAll(windows []*calllog.Window, servers int) (took int, failed int64) {
	for i, w := range windows[:min(len(windows), settled)] {
		failed += distribution.Counts(w.Failures).Total() - w.Failures["DeadlineExceeded"]
		if len(answers(windows[:i+1])) == servers {
			return i + 1, failed
		}
	}
	return 0, failed
}

func answers(windows []*calllog.Window) distribution.Counts {
	all := distribution.Counts{}
	for _, w := range windows {
		all = all.Plus(w.Servers)
	}
	return all
}

func windowsOf(raw []byte) []*calllog.Window {
	var all []*calllog.Window
	for line, err := range calllog.Read(bytes.NewReader(raw)) {
		if w, ok := line.(*calllog.Window); ok && err == nil {
			all = append(all, w)
		}
	}
	return all
}

// nothingDrifts renders everything anew, again and again, and wants that it
// makes no difference.
func nothingDrifts(ctx context.Context, s *instance) (string, error) {
	before, syncs, err := s.generations(ctx)
	if err != nil {
		return "", err
	}
	for range refreshes {
		if err := s.refresh(ctx, "hard", s.able()...); err != nil {
			return "", err
		}
		if err := s.until(ctx, s.able(), func(a *App) string {
			if a.Metadata.Annotations["argocd.argoproj.io/refresh"] != "" {
				return a.Metadata.Name + " is being refreshed"
			}
			return ""
		}); err != nil {
			return "", err
		}
		for _, name := range s.able() {
			a, err := s.app(ctx, name)
			if err != nil {
				return "", err
			}
			if a == nil {
				return "", refuted("after a refresh %s is not there", name)
			}
			if what := a.fine(); what != "" {
				return "", refuted("after a refresh %s", what)
			}
		}
	}
	after, syncsAfter, err := s.generations(ctx)
	if err != nil {
		return "", err
	}
	var grown []string
	for object, generation := range after {
		if generation != before[object] {
			grown = append(grown, fmt.Sprintf("%s from %d to %d", object, before[object], generation))
		}
	}
	if slices.Sort(grown); len(grown) > 0 || syncs != syncsAfter {
		return "", refuted("%d syncs began; generations grew: %s", syncsAfter-syncs, strings.Join(grown, ", "))
	}
	return fmt.Sprintf("%d refreshes of %d Applications: all Synced, %d objects unchanged, no sync", refreshes, len(s.able()), len(after)), nil
}

// generations returns the generation of every object that has one, and how many
// syncs there were.
func (s *instance) generations(ctx context.Context) (all map[string]int64, syncs int, err error) {
	all = map[string]int64{}
	for _, name := range s.able() {
		a, err := s.app(ctx, name)
		if err != nil {
			return nil, 0, err
		}
		if a == nil {
			return nil, 0, refuted("%s is not there", name)
		}
		syncs += len(a.Status.History)
		objects, err := s.objects(ctx, a)
		if err != nil {
			return nil, 0, err
		}
		for r, o := range objects {
			if o == nil {
				return nil, 0, refuted("%s %s/%s is not there", r.Kind, r.Namespace, r.Name)
			}
			if g := o.GetGeneration(); g > 0 {
				all[r.Kind+" "+r.Namespace+"/"+r.Name] = g
			}
		}
	}
	return all, syncs, nil
}
