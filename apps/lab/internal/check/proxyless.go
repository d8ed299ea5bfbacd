package check

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// injected says whether Istio adds to a workload's pods by their own label.
func injected(w manifest.Workload) bool {
	return w.Template.Labels["sidecar.istio.io/inject"] == "true"
}

var xdsInjectionRule = Rule{Name: "xds-injection", Remedy: "inject the gRPC agent into clients with an xds target, and into nothing else", objects: checkProxyless}

// checkProxyless wants a client that asks istiod for its servers to have the
// agent that makes its bootstrap file, and nothing else to be injected.
func checkProxyless(r manifest.Rendering, wrong reportObject) {
	client, _ := manifest.Component(r.Objects, manifest.Client)
	calls := manifest.MainContainer(client.Spec.Template)
	proxyless := strings.HasPrefix(manifest.Setting(calls, "target"), "xds:")
	for _, w := range manifest.Workloads(r.Objects) {
		if wanted := proxyless && w.Object == manifest.Object(client); injected(w) != wanted {
			wrong(w.Object, "sidecar.istio.io/inject", "sidecar.istio.io/inject is %v, expected %v: it is for clients with an xds target", injected(w), wanted)
			continue
		}
		if !injected(w) {
			continue
		}
		if template := w.Template.Annotations["inject.istio.io/templates"]; template != "grpc-agent" {
			wrong(w.Object, template, "inject.istio.io/templates is %q, expected grpc-agent: any other brings an Envoy", template)
		}
		var config struct {
			HoldApplicationUntilProxyStarts bool `json:"holdApplicationUntilProxyStarts"`
		}
		if err := json.Unmarshal([]byte(w.Template.Annotations["proxy.istio.io/config"]), &config); err != nil || !config.HoldApplicationUntilProxyStarts {
			wrong(w.Object, "proxy.istio.io/config", "proxy.istio.io/config does not hold the client until its bootstrap file is there")
		}
		if policy := manifest.Setting(calls, "lb-policy"); policy != "" {
			wrong(w.Object, policy, "--lb-policy=%s, expected none: xDS names the policy", policy)
		}
	}
	for _, n := range manifest.All[*corev1.Namespace](r.Objects) {
		if proxyless && n.Labels["istio-injection"] != "" {
			wrong(n, "istio-injection", "istio-injection puts a sidecar beside the servers")
		}
	}
}
