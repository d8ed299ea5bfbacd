package overlay

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// checkContainers wants each container to say what it needs and exactly what
// it runs, and each volume to be there.
func checkContainers(r rendering) []string {
	var violations []string
	for _, w := range workloads(r.objects) {
		for _, c := range w.containers() {
			at := describe(w.Object) + " container " + c.Name
			if _, tag, digest := splitReference(c.Image); digest == "" && (tag == "" || tag == "latest") {
				violations = append(violations, fmt.Sprintf("%s: image %q, expected a tag other than latest, or a digest", at, c.Image))
			}
			for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				if request := c.Resources.Requests[resource]; request.IsZero() {
					violations = append(violations, fmt.Sprintf("%s: requests no %s", at, resource))
				}
			}
		}
		for _, volume := range w.template.Spec.Volumes {
			if volume.ConfigMap == nil {
				continue
			}
			if _, ok := find[*corev1.ConfigMap](r.objects, volume.ConfigMap.Name); !ok {
				violations = append(violations, fmt.Sprintf("%s: volume %s: no ConfigMap %q is rendered", describe(w.Object), volume.Name, volume.ConfigMap.Name))
			}
		}
		if _, ok := find[*corev1.ServiceAccount](r.objects, w.template.Spec.ServiceAccountName); !ok {
			violations = append(violations, fmt.Sprintf("%s: no ServiceAccount %q is rendered", describe(w.Object), w.template.Spec.ServiceAccountName))
		}
	}
	return violations
}

var variable = regexp.MustCompile(`\$\(([A-Za-z0-9_]+)\)`)

// checkVariables wants each $(NAME) in arguments and environment to be set,
// in the environment further up: Kubernetes passes on what it does not know.
func checkVariables(r rendering) []string {
	var violations []string
	for _, w := range workloads(r.objects) {
		for _, c := range w.containers() {
			var known []string
			expand := func(s string) {
				for _, match := range variable.FindAllStringSubmatch(s, -1) {
					if !slices.Contains(known, match[1]) {
						violations = append(violations, fmt.Sprintf("%s container %s: %s in %q is not set", describe(w.Object), c.Name, match[0], s))
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
	return violations
}

// checkDrain wants the kubelet to leave echo-server the time that its flags
// give a drain.
func checkDrain(r rendering) []string {
	server, ok := find[*appsv1.Deployment](r.objects, "echo-server")
	if !ok {
		return []string{"no Deployment/echo-server"}
	}
	var drain time.Duration
	for _, name := range []string{"drain-delay", "drain-timeout"} {
		value := flag(server.Spec.Template.Spec.Containers[0].Args, name)
		d, err := time.ParseDuration(value)
		if err != nil {
			return []string{fmt.Sprintf("Deployment/echo-server: --%s=%q, expected a duration such as 5s", name, value)}
		}
		drain += d
	}
	grace := 30 * time.Second // Kubernetes' default
	if s := server.Spec.Template.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if grace <= drain {
		return []string{fmt.Sprintf("Deployment/echo-server: terminationGracePeriodSeconds is %v, expected more than the %v that a drain may take", grace, drain)}
	}
	return nil
}
