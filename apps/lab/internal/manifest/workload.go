package manifest

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Workload is an object that makes pods, or a Pod.
type Workload struct {
	Object
	Selector *metav1.LabelSelector // nil if the kind needs none
	Template *corev1.PodTemplateSpec
}

// Workloads returns the objects that make pods.
func Workloads(objects []Object) []Workload {
	var all []Workload
	for _, o := range objects {
		switch t := o.(type) {
		case *appsv1.Deployment:
			all = append(all, Workload{o, t.Spec.Selector, &t.Spec.Template})
		case *appsv1.DaemonSet:
			all = append(all, Workload{o, t.Spec.Selector, &t.Spec.Template})
		case *appsv1.StatefulSet:
			all = append(all, Workload{o, t.Spec.Selector, &t.Spec.Template})
		case *appsv1.ReplicaSet:
			all = append(all, Workload{o, t.Spec.Selector, &t.Spec.Template})
		case *batchv1.Job:
			all = append(all, Workload{o, t.Spec.Selector, &t.Spec.Template})
		case *batchv1.CronJob:
			all = append(all, Workload{o, nil, &t.Spec.JobTemplate.Spec.Template})
		case *corev1.Pod:
			all = append(all, Workload{o, nil, &corev1.PodTemplateSpec{ObjectMeta: t.ObjectMeta, Spec: t.Spec}})
		}
	}
	return all
}

// SelectsByItself says whether Kubernetes makes the selector of the workload's kind, or
// the kind has none.
func (w Workload) SelectsByItself() bool {
	switch w.Object.(type) {
	case *batchv1.Job, *batchv1.CronJob, *corev1.Pod:
		return true
	}
	return false
}

// Replicas returns how many pods the workload wants, or nil if it does not say.
func (w Workload) Replicas() *int32 {
	switch t := w.Object.(type) {
	case *appsv1.Deployment:
		return t.Spec.Replicas
	case *appsv1.StatefulSet:
		return t.Spec.Replicas
	case *appsv1.ReplicaSet:
		return t.Spec.Replicas
	}
	return nil
}

// WorkloadNamed returns the workload that has the name in Describe's form, such
// as "DaemonSet/l5d".
func WorkloadNamed(objects []Object, name string) (Workload, bool) {
	for _, w := range Workloads(objects) {
		if Describe(w.Object) == name {
			return w, true
		}
	}
	return Workload{}, false
}

// Containers returns the containers of a workload's pods, init containers first.
func (w Workload) Containers() []corev1.Container {
	return slices.Concat(w.Template.Spec.InitContainers, w.Template.Spec.Containers)
}

// HasArgument says whether a container of the workload has the argument.
func (w Workload) HasArgument(argument string) bool {
	return slices.ContainsFunc(w.Containers(), func(c corev1.Container) bool { return slices.Contains(c.Args, argument) })
}

// HasPort says whether the workload's pods have a port of that number or name.
func (w Workload) HasPort(port intstr.IntOrString) bool {
	return w.hasPort(func(p corev1.ContainerPort) bool { return IsPort(p, port) })
}

// IsPort says whether a container's port has that number or name.
func IsPort(p corev1.ContainerPort, port intstr.IntOrString) bool {
	return port.Type == intstr.Int && p.ContainerPort == port.IntVal || port.Type == intstr.String && p.Name == port.StrVal
}

// TargetPort returns the port of the pods to which a port of a Service leads: by default
// the one of the same number. Source: the API reference of ServicePort.
func TargetPort(p corev1.ServicePort) intstr.IntOrString {
	if p.TargetPort == (intstr.IntOrString{}) {
		return intstr.FromInt32(p.Port)
	}
	return p.TargetPort
}

// HasHostPort says whether the node's port leads to the workload's pod.
func (w Workload) HasHostPort(port int32) bool {
	return w.hasPort(func(p corev1.ContainerPort) bool { return p.HostPort == port })
}

func (w Workload) hasPort(is func(corev1.ContainerPort) bool) bool {
	return slices.ContainsFunc(w.Containers(), func(c corev1.Container) bool { return slices.ContainsFunc(c.Ports, is) })
}

// MainContainer returns the first container of a pod, or an empty one.
func MainContainer(pod corev1.PodTemplateSpec) corev1.Container {
	if len(pod.Spec.Containers) == 0 {
		return corev1.Container{}
	}
	return pod.Spec.Containers[0]
}

// Setting returns the value of --name=value, or of --name and the argument after it,
// among a container's arguments. If there is none, it returns the value of the
// variable NAME, or "", because programs of other services have flags of their own.
func Setting(c corev1.Container, name string) string {
	for i, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
		if arg == "--"+name && i+1 < len(c.Args) {
			return c.Args[i+1]
		}
	}
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	for _, env := range c.Env {
		if env.Name == variable {
			return env.Value
		}
	}
	return ""
}
