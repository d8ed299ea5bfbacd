package balance

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Client is a container that calls gRPC servers.
type Client struct {
	Pods      manifest.Workload
	Container string
	// From says where the target stands, such as "the argument --target".
	From   string
	Target Target
	// Problem says why gRPC cannot use the target, or is "".
	Problem string
	// Marked says that it is the client of an overlay, by its label and its setting
	// "target".
	Marked bool
	Policy Policy
	// Settings are what the program gets, by the name of a flag or a variable in lower
	// case with hyphens.
	Settings map[string]string
	// Image is that of the container.
	Image string
	Mesh  Mesh
}

// setting is a value that a container's program gets.
type setting struct {
	name  string // of a flag without hyphens, or of a variable in lower case with hyphens; may be ""
	value string
	from  string
}

// settings returns what a container's program gets as arguments, variables and
// mounted ConfigMaps, in the order in which they decide.
func (c *Cluster) settings(w manifest.Workload, container corev1.Container) []setting {
	env := c.environmentOf(w, container)
	var all []setting
	args := slices.Concat(container.Command, container.Args)
	for i, arg := range args {
		text := env.expand(arg)
		name, value, joined := strings.Cut(text, "=")
		flag := strings.HasPrefix(name, "-")
		switch {
		case flag && joined:
			all = append(all, setting{strings.TrimLeft(name, "-"), value, "the argument " + name})
		case flag && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			all = append(all, setting{strings.TrimLeft(name, "-"), env.expand(args[i+1]), "the argument " + name})
		case !flag:
			all = append(all, setting{"", text, "an argument"})
		}
	}
	for _, name := range sortedNames(env.variables) {
		if v := env.variables[name]; !v.hidden {
			all = append(all, setting{strings.ToLower(strings.ReplaceAll(name, "_", "-")), v.value, v.from})
		}
	}
	for _, mount := range container.VolumeMounts {
		for _, volume := range w.Template.Spec.Volumes {
			if volume.Name != mount.Name || volume.ConfigMap == nil {
				continue
			}
			if configMap := c.configMap(volume.ConfigMap.Name, w.GetNamespace()); configMap != nil {
				for _, key := range sortedNames(configMap.Data) {
					all = append(all, setting{"", configMap.Data[key], fmt.Sprintf("%s of ConfigMap/%s", path.Base(key), configMap.Name)})
				}
			}
		}
	}
	return all
}

// Clients returns the containers that have a target: those that the label of the
// lab's contract marks as clients, and those whose settings hold a target that leads
// to a gRPC Service.
func (c *Cluster) Clients() []Client {
	var found []Client
	for _, w := range c.workloads {
		for i, container := range w.Template.Spec.Containers {
			if IsMeshProxy(container.Name) {
				continue
			}
			settings := c.settings(w, container)
			named := map[string]string{}
			for _, s := range slices.Backward(settings) {
				named[s.name] = s.value
			}
			marked := i == 0 && w.GetLabels()[manifest.ComponentLabel] == manifest.Client &&
				slices.ContainsFunc(settings, func(s setting) bool { return s.name == "target" })
			for _, s := range c.targets(w, settings, marked) {
				client := Client{Pods: w, Marked: marked, Container: container.Name, Image: container.Image, Settings: named, From: s.from, Mesh: c.meshOf(w), Policy: policyOf(settings, marked)}
				var err error
				if client.Target, err = ParseTarget(s.value); err != nil {
					client.Problem = err.Error()
				}
				client.Policy.ByControlPlane = client.Target.Scheme == "xds"
				found = append(found, client)
			}
		}
	}
	return found
}

// targets returns the settings that are targets.
func (c *Cluster) targets(w manifest.Workload, settings []setting, marked bool) []setting {
	if marked {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == "target" })
		return settings[i : i+1]
	}
	var found []setting
	for _, s := range settings {
		for _, text := range candidates(s) {
			if c.leadsToGRPC(w, text) && !slices.ContainsFunc(found, func(f setting) bool { return f.value == text }) {
				found = append(found, setting{s.name, text, s.from})
			}
		}
	}
	return found
}

// inText finds targets inside a file: a gRPC scheme, or a host and its port.
var inText = regexp.MustCompile(`(?:(?:dns|k8s|xds|passthrough):///?)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[a-z0-9-]+)?`)

func candidates(s setting) []string {
	if !strings.ContainsAny(s.value, " \n\t") {
		return []string{s.value}
	}
	return inText.FindAllString(s.value, -1)
}

// grpcOnly are the schemes that only gRPC uses.
var grpcOnly = []string{"dns", "k8s", "xds", "passthrough"}

// leadsToGRPC says whether a text is a target that leads to a gRPC Service among the
// objects. Without a scheme it needs a port, because a bare word is no target. A server
// that knows its own Service is no client of it.
func (c *Cluster) leadsToGRPC(w manifest.Workload, text string) bool {
	scheme, _, _ := strings.Cut(text, ":")
	explicit := slices.Contains(grpcOnly, scheme)
	if strings.Contains(text, "://") && !explicit || !explicit && !strings.Contains(text, ":") {
		return false
	}
	t, err := ParseTarget(text)
	if err != nil {
		return false
	}
	e := c.lead(t, w)
	if e.problem != "" { // such as a short name of a Service of another namespace
		e = c.lead(t, manifest.Workload{Object: &corev1.Pod{}, Template: &corev1.PodTemplateSpec{}})
	}
	own := e.service != nil && slices.ContainsFunc(c.Selected(e.service), func(s manifest.Workload) bool { return s.Object == w.Object })
	return e.service != nil && !own && (explicit || c.IsGRPC(e.service, e.port))
}

// policyOf returns the effective policy. Of a marked client all is known: its flags
// and variables are those of the contract. Another program can have one in its code.
func policyOf(settings []setting, marked bool) Policy {
	for _, s := range settings {
		switch {
		case strings.Contains(s.value, "loadBalancingConfig") || strings.Contains(s.value, "loadBalancingPolicy"):
			name, err := policyIn(s.value)
			if err != nil {
				name = ""
			}
			return Policy{Name: name, From: s.from, Visible: true}
		case s.value != "" && (strings.HasSuffix(s.name, "lb-policy") || strings.Contains(s.name, "load-balanc") || slices.Contains(knownPolicies(), s.value)):
			return Policy{Name: strings.ToLower(s.value), From: s.from, Visible: true}
		}
	}
	return Policy{Visible: marked}
}
