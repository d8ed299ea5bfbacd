package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// creating is all that a container's status says while its pod waits for volumes.
const creating = ": ContainerCreating"

// diagnosis says why pods are not ready, and the last warnings, a line each.
// A text of several pods is said once. Texts count as one if their first three words
// are the same, because they end in ports and hashes.
func (env *Environment) diagnosis(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var lines []string
	times := map[string]int{}
	say := func(subject, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if times[begin(text)]++; times[begin(text)] == 1 {
			lines = append(lines, subject+"\x00"+text)
		}
	}
	env.Record.Look(func(f *observe.Facts) {
		for _, name := range observe.Keys(f.Pods) {
			for _, why := range troubles(f.Pods[name]) {
				say("pod "+name, "%s", why)
			}
		}
	})
	if events, err := env.Kube.Typed.CoreV1().Events(env.Namespace).List(ctx, metav1.ListOptions{}); err == nil {
		warnings := slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return e.Type != corev1.EventTypeWarning })
		slices.SortStableFunc(warnings, func(x, y corev1.Event) int {
			order, _ := resourceversion.CompareResourceVersion(x.ResourceVersion, y.ResourceVersion) // both are the API server's
			return order
		})
		for _, e := range warnings[max(0, len(warnings)-5):] {
			say("event of "+e.InvolvedObject.Kind+" "+e.InvolvedObject.Name, "%s %s", e.Reason, e.Message)
		}
	}
	// A pod that only is being created says nothing, but an event of it may say what it
	// waits for, such as a Secret that is missing.
	slices.SortStableFunc(lines, func(x, y string) int { return cmp.Compare(strings.Count(x, creating), strings.Count(y, creating)) })
	var b strings.Builder
	for _, line := range lines {
		subject, text, _ := strings.Cut(line, "\x00")
		if n := times[begin(text)]; n > 1 {
			subject += fmt.Sprintf(" and %d more", n-1)
		}
		fmt.Fprintf(&b, "\n  %s: %.250s", subject, text)
	}
	return b.String()
}

func begin(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(3, len(words))], " ")
}

// troubles says why a pod does not run, nothing when it does.
func troubles(p *corev1.Pod) []string {
	var all []string
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil:
			all = append(all, strings.TrimSpace(s.Name+": "+s.State.Waiting.Reason+" "+s.State.Waiting.Message))
		case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
			all = append(all, fmt.Sprintf("%s: ended with %d %s", s.Name, s.State.Terminated.ExitCode, s.State.Terminated.Reason))
		case s.RestartCount > 0:
			all = append(all, fmt.Sprintf("%s: restarted %d times", s.Name, s.RestartCount))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			all = append(all, "not scheduled: "+c.Message)
		}
	}
	return all
}
