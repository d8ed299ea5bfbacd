package argocd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// rollbackLimit is within which a revert must be in place: the deadline of the
// rollout that hangs is a part of it.
const rollbackLimit = 2 * time.Minute

const noTag = "no-such-tag"

// revertIsQuick commits an image that is not there, and reverts that as soon as a
// pod fails for it: just then the revert has longest to wait.
func revertIsQuick(ctx context.Context, s *instance) (string, error) {
	deployments := s.kube.Typed.AppsV1().Deployments(l4App)
	d, err := deployments.Get(ctx, "echo-server", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	good := d.Spec.Template.Spec.Containers[0].Image
	name, _, _ := manifest.SplitReference(good)
	before, err := s.pods(ctx, l4App)
	if err != nil {
		return "", err
	}
	bad := name + ":" + noTag
	if err := s.source.addImage("l4", bad); err != nil {
		return "", err
	}
	if _, err := s.source.push(ctx, "l4: a bad image"); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.refresh(ctx, "normal", l4App); err != nil {
		return "", err
	}
	why := ""
	if err := poll.Until(ctx, interval, func(ctx context.Context) (missing string, err error) {
		why, err = s.failing(ctx, l4App, bad)
		if err == nil && why == "" {
			missing = "no pod failed for " + bad
		}
		return missing, err
	}); err != nil {
		return "", err
	}
	s.note("%s after %s", why, since(begin))
	commit, err := s.source.back(ctx)
	if err != nil {
		return "", err
	}
	reverted := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, rollbackLimit, errLimit)
	defer cancel()
	if err := s.settled(limited, commit, l4App); err != nil {
		return "", err
	}
	took := since(reverted)
	if d, err = deployments.Get(ctx, "echo-server", metav1.GetOptions{}); err != nil {
		return "", err
	}
	if image := d.Spec.Template.Spec.Containers[0].Image; image != good || deadlineOf(d) >= rollbackLimit {
		return "", refuted("the image is %s with a deadline of %s", image, deadlineOf(d))
	}
	after, err := s.pods(ctx, l4App)
	if err != nil {
		return "", err
	}
	if !slices.Equal(before, after) {
		return "", refuted("pods were %v, are %v", before, after)
	}
	calls, lost, late, err := s.calls(ctx, l4App, begin)
	if err != nil {
		return "", err
	}
	if lost > 0 || calls == 0 {
		return "", refuted("%d of %d calls failed", lost, calls)
	}
	return fmt.Sprintf("%s; Synced and Healthy %s after the revert; the same %d pods ran on; of %d calls none was lost, %d were late", why, took, len(after), calls, late), nil
}

func deadlineOf(d *appsv1.Deployment) time.Duration {
	return time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
}

// failing says why a pod with the image does not start, or "".
func (s *instance) failing(ctx context.Context, namespace, image string) (string, error) {
	pods, err := s.kube.Typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; p.Spec.Containers[0].Image == image && w != nil && strings.Contains(w.Reason, "Image") {
				return "a new pod has " + w.Reason, nil
			}
		}
	}
	return "", nil
}

// undoBadImage reverts what a try that came to no revert left behind.
func undoBadImage(ctx context.Context, s *instance) error {
	content, err := os.ReadFile(filepath.Join(s.source.dir, "overlays/l4/kustomization.yaml"))
	if err != nil {
		return err
	}
	if strings.Contains(string(content), noTag) {
		if _, err := s.source.back(ctx); err != nil {
			return err
		}
		if err := s.endSync(ctx, l4App); err != nil {
			return err
		}
	}
	commit, err := git(ctx, s.source.dir, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	return s.settled(ctx, commit, s.able()...)
}

// calls counts what the clients of a namespace called since a moment. A late call
// missed its deadline, which is what a busy machine does.
func (s *instance) calls(ctx context.Context, namespace string, since time.Time) (calls, lost, late int64, err error) {
	pods, err := s.kube.Typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=echo-client"})
	if err != nil {
		return 0, 0, 0, err
	}
	for _, p := range pods.Items {
		raw, err := s.kube.Typed.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{SinceTime: &metav1.Time{Time: since}}).DoRaw(ctx)
		if err != nil {
			return 0, 0, 0, err
		}
		for _, w := range windowsOf(raw) {
			calls += w.Calls
			late += w.Failures["DeadlineExceeded"]
			lost += distribution.Counts(w.Failures).Total() - w.Failures["DeadlineExceeded"]
		}
	}
	return calls, lost, late, nil
}
