package balance

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

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
		for _, f := range c.mounted(w, mount) {
			all = append(all, setting{"", f.content, fmt.Sprintf("%s of ConfigMap/%s", path.Base(f.key), f.configMap.Name)})
		}
	}
	return all
}

// SettingLike says where the first setting stands whose name matches, such as "the argument
// --tls-cert", or is "".
func (c *Cluster) SettingLike(w manifest.Workload, container corev1.Container, name *regexp.Regexp) string {
	for _, s := range c.settings(w, container) {
		if s.value != "" && name.MatchString(s.name) {
			return s.from
		}
	}
	return ""
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
			marked := i == 0 && c.marks(w, container) && slices.ContainsFunc(settings, func(s setting) bool { return s.name == "target" })
			for _, s := range c.targets(w, settings, marked) {
				client := Client{Pods: w, Marked: marked, Container: container.Name, Image: container.Image, Settings: named, From: s.from, Mesh: c.meshOf(w), Policy: policyOf(settings, s, marked)}
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

// marks says whether a container is the client of an overlay: its workload has the label
// of the lab's contract. Among objects of other origin the label can mean anything, so
// the program has to be the lab's too.
func (c *Cluster) marks(w manifest.Workload, container corev1.Container) bool {
	name, _, _ := manifest.SplitReference(container.Image)
	return w.GetLabels()[manifest.ComponentLabel] == manifest.Client && (c.contract || strings.HasPrefix(path.Base(name), clientImage))
}

// clientImage is how the names of the lab's client programs begin.
const clientImage = "echo-client"

// targets returns the settings that are targets.
func (c *Cluster) targets(w manifest.Workload, settings []setting, marked bool) []setting {
	if marked {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == "target" })
		return settings[i : i+1]
	}
	var found []setting
	for _, s := range settings {
		for _, text := range candidates(s) {
			if c.isTarget(w, text) && !slices.ContainsFunc(found, func(f setting) bool { return f.value == text }) {
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

// isTarget says whether a text is a target of gRPC's. Only gRPC has its schemes, so such a
// text is one wherever it leads among the objects. Any other is one if it leads to a gRPC
// Service; it needs a port, because a bare word is no target. A server that knows its own
// Service is no client of it.
func (c *Cluster) isTarget(w manifest.Workload, text string) bool {
	scheme, rest, _ := strings.Cut(text, ":")
	explicit := slices.Contains(grpcOnly, scheme)
	if strings.Contains(text, "://") && !explicit || !explicit && (rest == "" || !c.mayName(text)) {
		return false
	}
	t, err := ParseTarget(text)
	if err != nil {
		return explicit && strings.HasPrefix(rest, "//") && !strings.ContainsAny(text, "{}<>")
	}
	e := c.lead(t, w)
	if e.elsewhere != "" && e.service == nil || e.node.Object != nil && !explicit {
		return false // it leaves the cluster
	}
	if e.problem != "" { // such as a short name of a Service of another namespace
		e = c.lead(t, manifest.Workload{Object: &corev1.Pod{}, Template: &corev1.PodTemplateSpec{}})
	}
	if e.gateway != nil {
		return explicit || slices.ContainsFunc(c.routes, func(r *gatewayv1.GRPCRoute) bool { return c.attaches(r, e.gateway, e.listener) })
	}
	if e.service == nil {
		return explicit && strings.HasPrefix(rest, "//")
	}
	own := slices.ContainsFunc(c.Selected(e.service), func(s manifest.Workload) bool { return s.Object == w.Object })
	return !own && (explicit || c.IsGRPC(e.service, e.port))
}

// mayName says whether a text can name a Service of the objects, or of a Gateway's proxy, without parsing it: a
// file can hold many texts. An address can be that of a Service too.
func (c *Cluster) mayName(text string) bool {
	if strings.HasPrefix(text, "[") || strings.Contains(text, "$(") {
		return true
	}
	label := text[:strings.IndexAny(text, ".:")]
	_, err := strconv.Atoi(label)
	return err == nil || len(c.services[strings.ToLower(label)]) > 0 ||
		slices.ContainsFunc(c.gateways, func(g *gatewayv1.Gateway) bool { return serviceOf(g) == strings.ToLower(label) })
}

// policyOf returns the effective policy of a target. Of a marked client all is known: its
// flags and variables are those of the contract. Another program can have one in its code,
// and can read settings of which only their names tell what they are.
func policyOf(settings []setting, target setting, marked bool) Policy {
	var found []Policy
	var names []string
	for _, s := range settings {
		if p, ok := policyIn(s, marked); ok {
			found, names = append(found, p), append(names, s.name)
		}
	}
	if len(found) == 0 {
		return Policy{Visible: marked}
	}
	for i, name := range names { // a program can have one for each target
		if stem := strings.TrimSuffix(strings.TrimSuffix(target.name, "-target"), "-addr"); stem != "" && strings.HasPrefix(name, stem+"-") {
			return found[i]
		}
	}
	for _, p := range found[1:] {
		if p.Name != found[0].Name && !marked {
			return Policy{From: "several settings"}
		}
	}
	return found[0]
}

// policyName matches the name of a setting that holds a policy.
var policyName = regexp.MustCompile(`(^|-)(lb|load-?balanc(ing|er))(-policy|-strategy)?$|(^|-)balanc(ing|er)(-policy|-strategy)?$`)

// policyIn returns the policy that a setting names; it is false of any other setting.
func policyIn(s setting, marked bool) (Policy, bool) {
	if strings.Contains(s.value, "loadBalancingConfig") || strings.Contains(s.value, "loadBalancingPolicy") {
		if s.from == "the variable GRPC_SERVICE_CONFIG" {
			return Policy{}, false // gRPC reads no such variable
		}
		name, err := configured(s.value)
		return Policy{Name: name, From: s.from, Visible: err == nil || marked}, true
	}
	p := Policy{Name: strings.ToLower(s.value), From: s.from, Visible: true}
	switch known := slices.Contains(knownPolicies(), p.Name) || p.misspelt() != ""; {
	case s.value == "" || !policyName.MatchString(s.name):
		return Policy{}, false
	case known || marked:
		return p, true
	case strings.HasSuffix(s.name, "lb-policy"):
		return Policy{From: s.from}, true // a program can register policies of its own
	}
	return Policy{}, false
}
