package manifest

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// injected says whether Istio adds to the workload's pods by their own label.
func (w workload) injected() bool { return w.template.Labels["sidecar.istio.io/inject"] == "true" }

// checkProxyless wants a client that asks istiod for its servers to have the
// agent that makes its bootstrap file, and nothing else to be injected.
func checkProxyless(r rendering, wrong reportObject) {
	client, _ := component(r.objects, Client)
	calls := first(client.Spec.Template)
	proxyless := strings.HasPrefix(setting(calls, "target"), "xds:")
	for _, w := range workloads(r.objects) {
		if wanted := proxyless && w.Object == Object(client); w.injected() != wanted {
			wrong(w.Object, "sidecar.istio.io/inject", "sidecar.istio.io/inject is %v, expected %v: it is for clients with an xds target", w.injected(), wanted)
			continue
		}
		if !w.injected() {
			continue
		}
		if template := w.template.Annotations["inject.istio.io/templates"]; template != "grpc-agent" {
			wrong(w.Object, template, "inject.istio.io/templates is %q, expected grpc-agent: any other brings an Envoy", template)
		}
		var config struct {
			HoldApplicationUntilProxyStarts bool `json:"holdApplicationUntilProxyStarts"`
		}
		if err := json.Unmarshal([]byte(w.template.Annotations["proxy.istio.io/config"]), &config); err != nil || !config.HoldApplicationUntilProxyStarts {
			wrong(w.Object, "proxy.istio.io/config", "proxy.istio.io/config does not hold the client until its bootstrap file is there")
		}
		if policy := setting(calls, "lb-policy"); policy != "" {
			wrong(w.Object, policy, "--lb-policy=%s, expected none: xDS names the policy", policy)
		}
	}
	for _, n := range all[*corev1.Namespace](r.objects) {
		if proxyless && n.Labels["istio-injection"] != "" {
			wrong(n, "istio-injection", "istio-injection puts a sidecar beside the servers")
		}
	}
}
