package check

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// linkerdConfig is the part of Linkerd 1's configuration that is used here.
type linkerdConfig struct {
	Admin struct {
		listener `json:",inline"`
		Security linkerdSecurity `json:"security"`
	} `json:"admin"`
	Usage struct {
		Enabled *bool `json:"enabled"`
	} `json:"usage"`
	Namers []struct {
		Kind string `json:"kind"`
		Host string `json:"host"`
		Port int32  `json:"port"`
	} `json:"namers"`
	Telemetry []struct {
		Kind string `json:"kind"`
	} `json:"telemetry"`
	Routers []struct {
		Protocol     string `json:"protocol"`
		Experimental bool   `json:"experimental"`
		Label        string `json:"label"`
		Identifier   struct {
			Kind     string `json:"kind"`
			Segments int    `json:"segments"`
		} `json:"identifier"`
		Dtab    string     `json:"dtab"`
		Servers []listener `json:"servers"`
	} `json:"routers"`
}

type listener struct {
	IP   string `json:"ip"`
	Port int32  `json:"port"`
}

// dentry is the one kind of rule that the dtab needs: a gRPC service leads to
// namespace/port name/service of the Kubernetes namer.
var dentry = regexp.MustCompile(`^\s*/svc/([\w.]+)\s*=>\s*/#/io\.l5d\.k8s/([\w-]+)/([\w-]+)/([\w-]+)\s*;\s*$`)

var linkerdConfigRule = Rule{Name: "linkerd-config", Remedy: "make l5d/config.yaml match the DaemonSet and the Service", objects: checkLinkerd}

// checkLinkerd wants Linkerd 1's configuration, where there is one, to fit the
// pods and the Service around it.
func checkLinkerd(r manifest.Rendering, report reportObject) {
	pods, ok := manifest.WorkloadNamed(r.Objects, "DaemonSet/l5d")
	if !ok {
		return
	}
	file := strings.Join(manifest.MainContainer(*pods.Template).Args, " ")
	at, content := mounted(r.Objects, pods, file)
	if at == nil {
		report(pods.Object, file, "no ConfigMap is mounted as its configuration %q", file)
		return
	}
	wrong := func(format string, args ...any) { report(at, "", "%s", fmt.Sprintf("config.yaml: "+format, args...)) }
	var config linkerdConfig
	if err := manifest.DecodeStrict([]byte(content), &config); err != nil {
		wrong("%s", manifest.OneLine(err))
		return
	}
	if !unspecified(config.Admin.IP) {
		wrong("admin.ip %q, expected 0.0.0.0: probes come from outside the pod", config.Admin.IP)
	}
	checkLinkerdAdmin(pods, config, wrong)
	if config.Usage.Enabled == nil || *config.Usage.Enabled {
		wrong("usage.enabled is not false: Linkerd sends usage data to its makers, expected usage.enabled: false")
	}
	for _, namer := range config.Namers {
		if namer.Kind != "io.l5d.k8s" || !pods.HasArgument("--port="+strconv.Itoa(int(namer.Port))) {
			wrong("namer %s at port %d, expected io.l5d.k8s at kubectl-proxy's --port", namer.Kind, namer.Port)
		}
	}
	if len(config.Namers) != 1 || len(config.Routers) != 1 {
		wrong("%d namers and %d routers, expected one of each", len(config.Namers), len(config.Routers))
		return
	}
	router := config.Routers[0]
	if router.Protocol != "h2" || !router.Experimental {
		wrong("router protocol %q, experimental %v, expected h2, true", router.Protocol, router.Experimental)
	}
	if router.Identifier.Kind != "io.l5d.header.path" || router.Identifier.Segments != 1 {
		wrong("identifier %q with %d segments, expected io.l5d.header.path with 1", router.Identifier.Kind, router.Identifier.Segments)
	}
	for _, server := range router.Servers {
		if !pods.HasHostPort(server.Port) {
			wrong("server port %d is not a hostPort of DaemonSet/l5d", server.Port)
		}
		if !unspecified(server.IP) {
			wrong("server ip %q, expected 0.0.0.0: clients come from outside the pod", server.IP)
		}
	}
	checkDtab(r, router.Dtab, wrong)
}

// checkDtab wants the dtab's one rule to lead to a Service port of the overlay.
func checkDtab(r manifest.Rendering, dtab string, wrong func(format string, args ...any)) {
	match := dentry.FindStringSubmatch(dtab)
	if match == nil {
		wrong("dtab %q, expected /svc/<gRPC service> => /#/io.l5d.k8s/<namespace>/<port name>/<service>;", strings.TrimSpace(dtab))
		return
	}
	called, namespace, port, name := match[1], match[2], match[3], match[4]
	if want := manifest.GRPCService(r.Objects); called != want {
		wrong("dtab: gRPC service %q, expected %q as the server's probe", called, want)
	}
	service, ok := manifest.Get[*corev1.Service](r.Objects, name)
	if !ok || service.Namespace != namespace {
		wrong("dtab: no Service %q in namespace %q", name, namespace)
		return
	}
	if !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port }) {
		wrong("dtab: Service %q has no port named %q", name, port)
	}
}
