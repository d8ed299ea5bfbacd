package check

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
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

// checkReferences wants the ConfigMaps, the Secrets and the ServiceAccount of pods to
// be there, unless they are optional or somebody makes them in the cluster: cert-manager, the
// lab or the user makes the Secret with certificates, which holds a key.
func checkReferences(r manifest.Rendering, wrong reportObject) {
	for _, w := range manifest.Workloads(r.Objects) {
		want := func(kind, name string, optional *bool, where string) {
			there := optional != nil && *optional || kind == "ConfigMap" && name == "kube-root-ca.crt" || kind == "Secret" && name == manifest.TLSSecret
			for _, o := range r.Objects {
				there = there || o.GetName() == name && o.GetObjectKind().GroupVersionKind().Kind == kind || kind == "Secret" && manifest.SecretOf(o) == name
			}
			if !there {
				wrong(w.Object, name, "%s: no %s %q is rendered", where, kind, name)
			}
		}
		for _, volume := range w.Template.Spec.Volumes {
			references(volume, func(kind, name string, optional *bool) { want(kind, name, optional, "volume "+volume.Name) })
		}
		for _, c := range w.Containers() {
			for _, from := range c.EnvFrom {
				if ref := from.ConfigMapRef; ref != nil {
					want("ConfigMap", ref.Name, ref.Optional, "envFrom of container "+c.Name)
				}
				if ref := from.SecretRef; ref != nil {
					want("Secret", ref.Name, ref.Optional, "envFrom of container "+c.Name)
				}
			}
			for _, env := range c.Env {
				if env.ValueFrom == nil {
					continue
				}
				if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
					want("ConfigMap", ref.Name, ref.Optional, "variable "+env.Name)
				}
				if ref := env.ValueFrom.SecretKeyRef; ref != nil {
					want("Secret", ref.Name, ref.Optional, "variable "+env.Name)
				}
			}
		}
		if account := w.Template.Spec.ServiceAccountName; account != "" && account != "default" {
			want("ServiceAccount", account, nil, "serviceAccountName")
		}
	}
}

// references calls found for each ConfigMap and Secret of a volume.
func references(v corev1.Volume, found func(kind, name string, optional *bool)) {
	if v.ConfigMap != nil {
		found("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
	}
	if v.Secret != nil {
		found("Secret", v.Secret.SecretName, v.Secret.Optional)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if source.ConfigMap != nil {
			found("ConfigMap", source.ConfigMap.Name, source.ConfigMap.Optional)
		}
		if source.Secret != nil {
			found("Secret", source.Secret.Name, source.Secret.Optional)
		}
	}
}

var variableRule = Rule{Name: "variable", Remedy: "set the variable in env:, before its first use; write $$(NAME) for the text $(NAME)", objects: checkVariables}

// checkVariables wants each $(NAME) in arguments and environment to be set: the kubelet
// passes on a reference that it does not know.
func checkVariables(r manifest.Rendering, wrong reportObject) {
	c := cluster(r)
	for _, w := range manifest.Workloads(r.Objects) {
		for _, u := range c.Unset(w) {
			wrong(w.Object, u.Text, "container %s: %s in %q is not set", u.Container, u.Reference, u.Text)
		}
	}
}

var drainGraceRule = Rule{Name: "drain-grace", Remedy: "set terminationGracePeriodSeconds to more than preStop, --drain-delay and --drain-timeout take together", objects: checkDrain}

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
	stop := preStopOf(manifest.MainContainer(server.Spec.Template))
	if grace := graceOf(pod); grace <= stop+drain {
		before := ""
		if stop > 0 {
			before = fmt.Sprintf("the %v of preStop and ", stop)
		}
		wrong(server, "terminationGracePeriodSeconds", "terminationGracePeriodSeconds is %v, expected more than %sthe %v that a drain may take", grace, before, drain)
	}
}

// sleepCommand is a sleep in a shell's script or as a command of its own.
var sleepCommand = regexp.MustCompile(`(?:^|[\s;&/])sleep[\s]+([0-9.]+[smh]?)`)

// preStopOf returns how long a container's preStop sleeps. The kubelet takes that time
// out of the grace period.
func preStopOf(c corev1.Container) time.Duration {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return 0
	}
	stop := c.Lifecycle.PreStop
	var total time.Duration
	if stop.Sleep != nil {
		total = time.Duration(stop.Sleep.Seconds) * time.Second
	}
	if stop.Exec != nil {
		for _, match := range sleepCommand.FindAllStringSubmatch(strings.Join(stop.Exec.Command, " "), -1) {
			text := match[1]
			if text[len(text)-1] <= '9' {
				text += "s" // as sleep(1) reads it
			}
			d, _ := time.ParseDuration(text)
			total += d
		}
	}
	return total
}

// graceOf returns how long the kubelet waits before it kills a pod.
func graceOf(pod corev1.PodSpec) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := pod.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(seconds) * time.Second
}
