package check

import (
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// linkerdSecurity says which paths Linkerd 1 answers at its admin port. By default
// it answers all of them.
type linkerdSecurity struct {
	UIEnabled          *bool    `json:"uiEnabled"`
	ControlEnabled     *bool    `json:"controlEnabled"`
	DiagnosticsEnabled *bool    `json:"diagnosticsEnabled"`
	PathWhitelist      []string `json:"pathWhitelist"`
	PathBlacklist      []string `json:"pathBlacklist"`
}

// The categories of paths, as Linkerd 1.7 has them; every other path is of
// diagnostics.
var (
	linkerdUI      = regexp.MustCompile(`^(/|/files/.*|/admin/files/.*|/config[.]json|(/admin)?/metrics[.]json|/admin/metrics|/delegator([.]json)?|/logging|/help)$`)
	linkerdControl = regexp.MustCompile(`^(/admin/shutdown|/logging[.]json)$`)
)

// answers says whether Linkerd answers at a path. The blacklist comes first, and
// the whitelist is for categories that are not enabled.
func (s linkerdSecurity) answers(path string) (bool, error) {
	refused, err := matchesAny(s.PathBlacklist, path)
	if err != nil || refused {
		return false, err
	}
	enabled := s.DiagnosticsEnabled
	switch {
	case linkerdUI.MatchString(path):
		enabled = s.UIEnabled
	case linkerdControl.MatchString(path):
		enabled = s.ControlEnabled
	}
	listed, err := matchesAny(s.PathWhitelist, path)
	return enabled == nil || *enabled || listed, err
}

// matchesAny matches a path as a whole, as Linkerd does.
func matchesAny(patterns []string, path string) (bool, error) {
	for _, p := range patterns {
		expression, err := regexp.Compile(`^(?:` + p + `)$`)
		if err != nil {
			return false, err
		}
		if expression.MatchString(path) {
			return true, nil
		}
	}
	return false, nil
}

// checkLinkerdAdmin wants the admin port to answer the kubelet and Prometheus, and no
// request that ends the process or changes its log.
func checkLinkerdAdmin(pods manifest.Workload, config linkerdConfig, wrong func(format string, args ...any)) {
	ask := func(path string, want bool, why string) {
		answers, err := config.Admin.Security.answers(path)
		switch {
		case err != nil:
			wrong("admin.security: %v", err)
		case answers && !want:
			wrong("admin.security lets the admin port answer at %s: %s", path, why)
		case !answers && want:
			wrong("admin.security keeps the admin port from answering at %s: %s", path, why)
		}
	}
	// Linkerd judges a path as it was sent, but takes several slashes in it for one.
	for _, path := range []string{"/admin/shutdown", "/admin//shutdown"} {
		ask(path, false, "anybody could end the process")
	}
	for _, path := range []string{"/logging.json", "//logging.json"} {
		ask(path, false, "anybody could change its log level")
	}
	ask("/admin/metrics.json", true, "`lab run` reads its counters")
	for _, path := range httpProbes(pods, config.Admin.Port) {
		ask(path, true, "a probe asks there")
	}
	for _, t := range config.Telemetry {
		if t.Kind == "io.l5d.prometheus" {
			ask("/admin/metrics/prometheus", true, "telemetry "+t.Kind+" is served there")
		}
	}
}

// httpProbes returns the paths that the kubelet asks at a port, each once.
func httpProbes(w manifest.Workload, port int32) []string {
	var paths []string
	for _, c := range w.Containers() {
		for _, probe := range probes(c) {
			if probe == nil || probe.HTTPGet == nil {
				continue
			}
			number := probe.HTTPGet.Port.IntVal
			for _, p := range c.Ports {
				if probe.HTTPGet.Port == intstr.FromString(p.Name) {
					number = p.ContainerPort
				}
			}
			if number == port {
				paths = append(paths, probe.HTTPGet.Path)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
