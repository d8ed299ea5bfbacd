package balance

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// variable is one variable of a container.
type variable struct {
	value string
	// hidden says that only the cluster has the value, in a Secret or a field of the
	// pod.
	hidden bool
	// from says where the value stands.
	from string
}

// environment is what a container gets from the kubelet.
type environment struct {
	variables map[string]variable
	// services are the variables of Services, which all others can replace.
	services map[string]variable
	// open says that a ConfigMap or a Secret that is not among the objects can hold
	// more variables.
	open bool
	// shell says that a shell reads the text, and $(name) there runs a command.
	shell bool
	// unset holds each reference to a variable that is not set, as it is written,
	// with the text around it.
	unset []Unset
}

// Unset is a reference to a variable that is not set, and the text around it.
type Unset struct{ Container, Reference, Text string }

// Unset returns the references of a workload's containers that the kubelet passes on
// as they are written, because nothing sets the variable.
func (c *Cluster) Unset(w manifest.Workload) []Unset {
	var all []Unset
	for _, container := range w.Containers() {
		env := c.environmentOf(w, container)
		env.shell = runsShell(container)
		for _, text := range slices.Concat(container.Command, container.Args) {
			env.expand(text)
		}
		for _, u := range env.unset {
			u.Container = container.Name
			all = append(all, u)
		}
	}
	return all
}

// environmentOf builds a container's variables in the kubelet's order: those of
// Services, then envFrom, then env, each of which may use those before it.
// Source: makeEnvironmentVariables in Kubernetes' pkg/kubelet/kubelet_pods.go.
func (c *Cluster) environmentOf(w manifest.Workload, container corev1.Container) environment {
	e := environment{variables: map[string]variable{}}
	if links := w.Template.Spec.EnableServiceLinks; links == nil || *links {
		e.services = c.serviceVariables(w.GetNamespace())
	}
	for _, from := range container.EnvFrom {
		data, complete := c.source(w, from)
		e.add(data, complete, from.Prefix)
	}
	for _, env := range container.Env {
		v := variable{from: "the variable " + env.Name}
		if env.ValueFrom == nil {
			v.value = e.expand(env.Value)
		} else {
			v.value, v.hidden = c.referred(w, env.ValueFrom)
		}
		e.variables[env.Name] = v
	}
	return e
}

// source returns the variables of an envFrom entry, and whether they are all of
// them.
func (c *Cluster) source(w manifest.Workload, from corev1.EnvFromSource) (data map[string]variable, complete bool) {
	data = map[string]variable{}
	switch {
	case from.ConfigMapRef != nil:
		configMap := c.configMap(from.ConfigMapRef.Name, w.GetNamespace())
		if configMap == nil {
			return nil, false
		}
		for key, value := range configMap.Data {
			data[key] = variable{value: value, from: fmt.Sprintf("ConfigMap/%s, key %s", configMap.Name, key)}
		}
	case from.SecretRef != nil:
		secret := c.secret(from.SecretRef.Name, w.GetNamespace())
		if secret == nil {
			return nil, false
		}
		for key := range maps.Keys(secret.Data) {
			data[key] = variable{hidden: true, from: fmt.Sprintf("Secret/%s, key %s", secret.Name, key)}
		}
		for key := range maps.Keys(secret.StringData) {
			data[key] = variable{hidden: true, from: fmt.Sprintf("Secret/%s, key %s", secret.Name, key)}
		}
	}
	return data, true
}

func (e *environment) add(data map[string]variable, complete bool, prefix string) {
	e.open = e.open || !complete
	for key, v := range data {
		e.variables[prefix+key] = v
	}
}

// referred returns the value of a variable that has a source, or says that only the
// cluster has it.
func (c *Cluster) referred(w manifest.Workload, from *corev1.EnvVarSource) (value string, hidden bool) {
	switch {
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.namespace" && w.GetNamespace() != "":
		return w.GetNamespace(), false
	case from.ConfigMapKeyRef != nil:
		if configMap := c.configMap(from.ConfigMapKeyRef.Name, w.GetNamespace()); configMap != nil {
			value, ok := configMap.Data[from.ConfigMapKeyRef.Key]
			return value, !ok
		}
	}
	return "", true
}

func (c *Cluster) configMap(name, namespace string) *corev1.ConfigMap {
	return in(c.configMaps[name], namespace)
}

func (c *Cluster) secret(name, namespace string) *corev1.Secret {
	return in(c.secrets[name], namespace)
}

// serviceVariables returns what the kubelet sets for each Service that has a
// cluster IP. The Service's name stands for an address that only a cluster gives:
// both lead to the same place.
// Source: FromServices in Kubernetes' pkg/kubelet/envvars.
func (c *Cluster) serviceVariables(namespace string) map[string]variable {
	if all, ok := c.variables[namespace]; ok {
		return all
	}
	all := map[string]variable{}
	c.variables[namespace] = all
	set := func(name, value string) {
		all[name] = variable{value: value, from: "the variable " + name}
	}
	for _, s := range manifest.All[*corev1.Service](c.objects) {
		if !sameNamespace(s.Namespace, namespace) || Headless(s) || s.Spec.Type == corev1.ServiceTypeExternalName || len(s.Spec.Ports) == 0 {
			continue
		}
		host := s.Spec.ClusterIP
		if host == "" {
			host = s.Name
		}
		name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		set(name+"_SERVICE_HOST", host)
		set(name+"_SERVICE_PORT", fmt.Sprint(s.Spec.Ports[0].Port))
		set(name+"_PORT", fmt.Sprintf("%s://%s:%d", strings.ToLower(protocol(s.Spec.Ports[0])), host, s.Spec.Ports[0].Port))
		for _, p := range s.Spec.Ports {
			if p.Name != "" {
				set(name+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), fmt.Sprint(p.Port))
			}
			prefix := fmt.Sprintf("%s_PORT_%d_%s", name, p.Port, protocol(p))
			set(prefix, fmt.Sprintf("%s://%s:%d", strings.ToLower(protocol(p)), host, p.Port))
			set(prefix+"_PROTO", strings.ToLower(protocol(p)))
			set(prefix+"_PORT", fmt.Sprint(p.Port))
			set(prefix+"_ADDR", host)
		}
	}
	// The API server's Service is in every cluster.
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT"} {
		all[name] = variable{hidden: true, from: "the variable " + name}
	}
	return all
}

func protocol(p corev1.ServicePort) string {
	if p.Protocol == "" {
		return string(corev1.ProtocolTCP)
	}
	return string(p.Protocol)
}

// reference matches what the kubelet replaces: $$ stands for $, and $(NAME) for the
// variable's value.
var reference = regexp.MustCompile(`\$\$|\$\(([^)]*)\)`)

// expand replaces references as the kubelet does. It leaves a reference whose value
// only the cluster has. It notes references to variables that are not set, which the
// kubelet passes on as they are written.
func (e *environment) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		name := match[2 : len(match)-1]
		v, ok := e.variables[name]
		if !ok {
			v, ok = e.services[name]
		}
		if !ok && !e.open && (!e.shell || variableName.MatchString(name)) {
			e.unset = append(e.unset, Unset{Reference: match, Text: text})
		}
		if !ok || v.hidden {
			return match
		}
		return v.value
	})
}

// variableName matches what is a variable by custom, not a command.
var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// runsShell says whether a container runs a shell with a script among its arguments.
func runsShell(c corev1.Container) bool {
	words := slices.Concat(c.Command, c.Args)
	return len(words) > 1 && strings.HasSuffix(path.Base(words[0]), "sh") && slices.ContainsFunc(words[1:], func(w string) bool {
		return strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.Contains(w, "c")
	})
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
