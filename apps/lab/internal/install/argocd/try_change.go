package argocd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const (
	l4App  = "grpc-lb-l4"
	dnsApp = "grpc-lb-dns"
	apiApp = "grpc-lb-k8s-api"

	// scaledTime is how long a change must stay: Argo CD heals others within 5 s.
	scaledTime = 15 * time.Second
	// keptTime is how long what was dropped must stay: unasked, it is gone in less.
	keptTime = 20 * time.Second
)

func deploymentOf(app, name string) Resource {
	return Resource{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: app, Name: name}
}

// settled waits until the Applications have synced the commit.
func (s *instance) settled(ctx context.Context, commit string, names ...string) error {
	if err := s.refresh(ctx, "normal", names...); err != nil {
		return err
	}
	return s.until(ctx, names, func(a *App) string {
		if a.Status.Sync.Revision != commit {
			return fmt.Sprintf("%s compares with %.7s, not %.7s", a.Metadata.Name, a.Status.Sync.Revision, commit)
		}
		return a.fine()
	})
}

// revertCommit undoes the last commit and waits for all that can be fine.
func revertCommit(ctx context.Context, s *instance) error {
	commit, err := s.source.back(ctx)
	if err != nil {
		return err
	}
	return s.settled(ctx, commit, s.able()...)
}

func commitRollsOut(ctx context.Context, s *instance) (string, error) {
	old, err := s.source.rate("k8s-api")
	if err != nil {
		return "", err
	}
	rate := strconv.Itoa(2 * old)
	const container = "- name: echo-client\n"
	env := `          env: [{name: RATE, value: "` + rate + `"}]` + "\n"
	if err := s.source.edit("overlays/k8s-api/echo-client.patch.yaml", container, container+env); err != nil {
		return "", err
	}
	commit, err := s.source.push(ctx, "k8s-api: call "+rate+" times a second")
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.settled(ctx, commit, apiApp); err != nil {
		return "", err
	}
	done := since(begin)
	pods, err := s.kube.Typed.CoreV1().Pods(apiApp).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=echo-client"})
	if err != nil {
		return "", err
	}
	changed := 0
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && manifest.Setting(p.Spec.Containers[0], "rate") == rate {
			changed++
		}
	}
	if changed != 3 {
		return "", refuted("%s Healthy at %.7s, but %d clients run with RATE=%s", done, commit, changed, rate)
	}
	return fmt.Sprintf("commit to Healthy in %s after the refresh, %d clients run with RATE=%s", done, changed, rate), nil
}

func editIsHealed(ctx context.Context, s *instance) (string, error) {
	s.note("kubectl -n %s scale deployment echo-client --replicas=1", l4App)
	if err := s.patch(ctx, deploymentOf(l4App, "echo-client").object(), `{"spec":{"replicas":1}}`); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.replicas(ctx, l4App, "echo-client", 3); err != nil {
		return "", err
	}
	healed := since(begin)
	if err := s.kube.Available(ctx, l4App, "echo-client"); err != nil {
		return "", err
	}
	measured := fmt.Sprintf("3 wanted again after %s, all run after %s", healed, since(begin))
	return measured, s.until(ctx, []string{l4App}, (*App).fine)
}

// replicas waits until a Deployment wants that many.
func (s *instance) replicas(ctx context.Context, app, name string, want int64) error {
	return poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		have, err := s.wanted(ctx, app, name)
		if err != nil || have == want {
			return "", err
		}
		return fmt.Sprintf("%s of %s has %d replicas", name, app, have), nil
	})
}

func (s *instance) wanted(ctx context.Context, app, name string) (int64, error) {
	o, err := s.get(ctx, deploymentOf(app, name))
	if err != nil {
		return 0, err
	}
	if o == nil {
		return 0, refuted("%s of %s is not there", name, app)
	}
	have, _, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
	return have, err
}

func deletedReturns(ctx context.Context, s *instance) (string, error) {
	service := s.kube.Typed.CoreV1().Services(l4App)
	old, err := service.Get(ctx, "echo-server", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	s.note("kubectl -n %s delete service echo-server", l4App)
	if err := service.Delete(ctx, "echo-server", metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	begin, returned := time.Now(), ""
	err = poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		o, err := s.get(ctx, Resource{Version: "v1", Kind: "Service", Namespace: l4App, Name: "echo-server"})
		if err != nil {
			return "", err
		}
		if o == nil || o.GetUID() == old.UID {
			return "the Service has not returned", nil
		}
		returned = since(begin)
		return "", nil
	})
	if err == nil {
		err = s.until(ctx, []string{l4App}, (*App).fine)
	}
	return "it returned after " + returned, err
}

// scaleStays scales, and commits yet another number.
func scaleStays(ctx context.Context, s *instance) (string, error) {
	s.note("kubectl -n %s scale deployment echo-server --replicas=4", l4App)
	if err := s.patch(ctx, deploymentOf(l4App, "echo-server").object(), `{"spec":{"replicas":4}}`); err != nil {
		return "", err
	}
	if err := s.source.edit("base/echo-server/deployment.yaml", "replicas: 3", "replicas: 2"); err != nil {
		return "", err
	}
	commit, err := s.source.push(ctx, "base: 2 servers")
	if err != nil {
		return "", err
	}
	if err := s.settled(ctx, commit, l4App); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.refresh(ctx, "hard", l4App); err != nil {
		return "", err
	}
	for time.Since(begin) < scaledTime {
		have, err := s.wanted(ctx, l4App, "echo-server")
		if err != nil {
			return "", err
		}
		if have != 4 {
			return "", refuted("%d replicas after %s", have, since(begin))
		}
		a, err := s.app(ctx, l4App)
		if err != nil {
			return "", err
		}
		if a == nil || a.Status.Sync.Status != synced {
			return "", refuted("%s", a.problem())
		}
		if err := poll.Sleep(ctx, interval); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("4 replicas and Synced for %s at a commit with 2", since(begin)), nil
}

func scaleBack(ctx context.Context, s *instance) error {
	if err := s.patch(ctx, deploymentOf(l4App, "echo-server").object(), `{"spec":{"replicas":3}}`); err != nil {
		return err
	}
	return revertCommit(ctx, s)
}

func removedIsPruned(ctx context.Context, s *instance) (string, error) {
	if err := s.source.edit("base/kustomization.yaml", "- echo-server/poddisruptionbudget.yaml", ""); err != nil {
		return "", err
	}
	commit, err := s.source.push(ctx, "base: no PodDisruptionBudget")
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.settled(ctx, commit, s.able()...); err != nil {
		return "", err
	}
	for _, name := range s.able() {
		o, err := s.get(ctx, Resource{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget", Namespace: name, Name: "echo-server"})
		if err != nil {
			return "", err
		}
		if o != nil {
			return "", refuted("%s is Synced and its PodDisruptionBudget is there", name)
		}
	}
	return fmt.Sprintf("gone from %d Applications %s after the refresh", len(s.able()), since(begin)), nil
}

func brokenFailsAlone(ctx context.Context, s *instance) (string, error) {
	const missing = "no-such.patch.yaml"
	before, err := s.pods(ctx, dnsApp)
	if err != nil {
		return "", err
	}
	if err := s.source.edit("overlays/dns/kustomization.yaml", "echo-client.patch.yaml", missing); err != nil {
		return "", err
	}
	commit, err := s.source.push(ctx, "dns: broken")
	if err != nil {
		return "", err
	}
	begin, said := time.Now(), ""
	if err := s.refresh(ctx, "normal", dnsApp); err != nil {
		return "", err
	}
	if err := s.until(ctx, []string{dnsApp}, func(a *App) string {
		for _, c := range a.Status.Conditions {
			if strings.Contains(c.Message, missing) {
				said = c.Type
				return ""
			}
		}
		return a.Metadata.Name + " does not say what is broken"
	}); err != nil {
		return "", err
	}
	measured := fmt.Sprintf("%s names %s after %s", said, missing, since(begin))
	others := slices.DeleteFunc(s.able(), func(name string) bool { return name == dnsApp })
	if err := s.settled(ctx, commit, others...); err != nil {
		return "", err
	}
	after, err := s.pods(ctx, dnsApp)
	if err != nil {
		return "", err
	}
	if !slices.Equal(before, after) || len(after) == 0 {
		return "", refuted("pods of %s were %v, are %v", dnsApp, before, after)
	}
	return fmt.Sprintf("%s; its %d pods run on; %d others are Synced and Healthy", measured, len(after), len(others)), nil
}

// pods names the pods that run, and go on.
func (s *instance) pods(ctx context.Context, namespace string) ([]string, error) {
	pods, err := s.kube.Typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
