package check

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var imagePinnedRule = Rule{Name: "image-pinned", Remedy: "give the image a version or a digest", objects: checkImages}

// checkImages wants each container to say exactly what it runs.
func checkImages(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Containers() {
			if name, tag, digest := manifest.SplitReference(c.Image); digest == "" && (tag == "" || tag == "latest") {
				wrong(w.Object, cmp.Or(tag, name), "container %s: image %q, expected a tag other than latest, or a digest", c.Name, c.Image)
			}
		}
	}
}

var resourceRequestsRule = Rule{Name: "resource-requests", Remedy: "request cpu and memory", objects: checkRequests}

// checkRequests wants each container to say what it needs.
func checkRequests(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Containers() {
			for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				if request := c.Resources.Requests[resource]; request.IsZero() {
					wrong(w.Object, "", "container %s: requests no %s", c.Name, resource)
				}
			}
		}
	}
}

var referenceRule = Rule{Name: "reference", Remedy: "render the object in the same overlay, or correct the name", objects: checkReferences}

// checkReferences wants the ConfigMaps and the ServiceAccount of pods to be there.
func checkReferences(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, volume := range w.Template.Spec.Volumes {
			if volume.ConfigMap == nil {
				continue
			}
			if _, ok := manifest.Get[*corev1.ConfigMap](r.Objects, volume.ConfigMap.Name); !ok {
				wrong(w.Object, volume.ConfigMap.Name, "volume %s: no ConfigMap %q is rendered", volume.Name, volume.ConfigMap.Name)
			}
		}
		account := w.Template.Spec.ServiceAccountName
		if _, ok := manifest.Get[*corev1.ServiceAccount](r.Objects, account); !ok {
			wrong(w.Object, account, "no ServiceAccount %q is rendered", account)
		}
	}
}

var variable = regexp.MustCompile(`\$\(([A-Za-z0-9_]+)\)`)

var variableRule = Rule{Name: "variable", Remedy: "set the variable in env:, before its first use", objects: checkVariables}

// checkVariables wants each $(NAME) in arguments and environment to be set,
// in the environment further up: Kubernetes passes on what it does not know.
func checkVariables(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		for _, c := range w.Containers() {
			var known []string
			expand := func(s string) {
				for _, match := range variable.FindAllStringSubmatch(s, -1) {
					if !slices.Contains(known, match[1]) {
						wrong(w.Object, s, "container %s: %s in %q is not set", c.Name, match[0], s)
					}
				}
			}
			for _, env := range c.Env {
				expand(env.Value)
				known = append(known, env.Name)
			}
			for _, arg := range slices.Concat(c.Command, c.Args) {
				expand(arg)
			}
		}
	}
}

var drainGraceRule = Rule{Name: "drain-grace", Remedy: "set terminationGracePeriodSeconds to more than --drain-delay plus --drain-timeout", objects: checkDrain}

// checkDrain wants the kubelet to leave the server the time that its settings
// give a drain.
func checkDrain(r manifest.Rendering, wrong reportObject) {
	server, ok := manifest.Component(r.Objects, manifest.Server)
	if !ok {
		return // checkComponents says so
	}
	pod := server.Spec.Template.Spec
	var drain time.Duration
	for _, name := range []string{"drain-delay", "drain-timeout"} {
		value := manifest.Setting(manifest.MainContainer(server.Spec.Template), name)
		d, err := time.ParseDuration(value)
		if err != nil {
			wrong(server, name, "--%s=%q, expected a duration such as 5s", name, value)
			return
		}
		drain += d
	}
	if grace := graceOf(pod); grace <= drain {
		wrong(server, "terminationGracePeriodSeconds", "terminationGracePeriodSeconds is %v, expected more than the %v that a drain may take", grace, drain)
	}
}

// graceOf returns how long the kubelet waits before it kills a pod.
func graceOf(pod corev1.PodSpec) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := pod.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(seconds) * time.Second
}
