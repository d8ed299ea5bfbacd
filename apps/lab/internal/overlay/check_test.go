package overlay_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/overlay"
)

// Every overlay of the checkout, and every variant, holds to every check.
func TestCheck(t *testing.T) {
	for _, name := range all(t) {
		if err := overlay.Check(name, decode(t, render(t, name))); err != nil {
			t.Error(err)
		}
	}
}

// Each check refuses a rendering in which one thing is wrong.
func TestCheckRejects(t *testing.T) {
	tests := []struct {
		name    string
		overlay string
		old     string // all of these in the rendering
		new     string
		want    string
	}{
		// checkNamespace, checkNames
		{name: "namespace_of_another", overlay: "dns", old: "name: grpc-lb-dns", new: "name: grpc-lb-l4", want: `Namespace "grpc-lb-l4", expected "grpc-lb-dns"`},
		{name: "object_elsewhere", overlay: "l4", old: "  name: echo-server\n  namespace: grpc-lb-l4", new: "  name: echo-server\n  namespace: default", want: `Deployment/echo-server is in namespace "default"`},
		{name: "no_namespace", overlay: "l4", old: "kind: Namespace", new: "kind: ServiceAccount", want: "0 Namespaces, expected 1"},
		{name: "dtab_of_another", overlay: "linkerd", old: "io.l5d.k8s/grpc-lb-linkerd/", new: "io.l5d.k8s/grpc-lb-dns/", want: `carries namespace "grpc-lb-dns", expected "grpc-lb-linkerd"`},
		{name: "target_in_another", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo-server.default.svc.cluster.local:8080", want: `"default.svc" carries namespace "default"`},
		// checkSelectors
		{name: "selector_with_two_labels", overlay: "l4", old: "  selector:\n    app.kubernetes.io/name: echo-server", new: "  selector:\n    app.kubernetes.io/name: echo-server\n    app.kubernetes.io/part-of: grpc-lb", want: "expected app.kubernetes.io/name alone"},
		{name: "selector_of_nothing", overlay: "l4", old: "  selector:\n    app.kubernetes.io/name: echo-server", new: "  selector:\n    app.kubernetes.io/name: echo", want: "Service/echo-server: selector map[app.kubernetes.io/name:echo] matches no pod"},
		{name: "budget_of_nothing", overlay: "l4", old: "maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: echo-server", new: "maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: echo", want: "PodDisruptionBudget/echo-server: selector map[app.kubernetes.io/name:echo] matches no pod"},
		{name: "spread_of_others", overlay: "l4", old: "- labelSelector:\n          matchLabels:\n            app.kubernetes.io/name: echo-client", new: "- labelSelector:\n          matchLabels:\n            app.kubernetes.io/name: echo-server", want: "Deployment/echo-client: topology spread"},
		// checkContainers
		{name: "latest", overlay: "l4", old: released(t, "ghcr.io/grpc-lb/echo-server"), new: "ghcr.io/grpc-lb/echo-server:latest", want: "expected a tag other than latest"},
		{name: "no_tag", overlay: "linkerd", old: "kubectl:v1.37.2", new: "kubectl", want: `image "registry.k8s.io/kubectl"`},
		{name: "no_request", overlay: "l4", old: "            cpu: 20m\n", new: "", want: "Deployment/echo-client container echo-client: requests no cpu"},
		{name: "no_config_map", overlay: "linkerd", old: "- configMap:\n          name: l5d-", new: "- configMap:\n          name: l5d-x-", want: "DaemonSet/l5d: volume config: no ConfigMap"},
		{name: "no_account", overlay: "l4", old: "serviceAccountName: echo-client", new: "serviceAccountName: client", want: `no ServiceAccount "client"`},
		// checkVariables
		{name: "unset_variable", overlay: "linkerd", old: "- name: HOST_IP", new: "- name: NODE_IP", want: "$(HOST_IP)"},
		// checkPorts
		{name: "app_protocol", overlay: "l4", old: "kubernetes.io/h2c", new: "grpc", want: "expected name grpc and appProtocol kubernetes.io/h2c"},
		{name: "target_port", overlay: "l4", old: "targetPort: grpc", new: "targetPort: http", want: "Service/echo-server: target port http is none of Deployment/echo-server"},
		{name: "probe_port", overlay: "l4", old: "grpc:\n            port: 8080", new: "grpc:\n            port: 8081", want: "probe's port 8081"},
		// checkTarget
		{name: "target_service", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo:8080", want: `no Service has the short name "echo"`},
		{name: "target_port_number", overlay: "dns", old: "dns:///echo-server:8080", new: "dns:///echo-server:80", want: "Service/echo-server has no port 80"},
		{name: "target_port_name", overlay: "k8s-api", old: "k8s:///echo-server:grpc", new: "k8s:///echo-server:http", want: "Service/echo-server has no port http"},
		{name: "target_port_name_in_dns", overlay: "dns", old: "dns:///echo-server:8080", new: "dns:///echo-server:grpc", want: "Service/echo-server has no port grpc"},
		{name: "target_without_port", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo-server", want: "no port"},
		{name: "target_host_port", overlay: "linkerd", old: "hostPort: 4140", new: "hostPort: 4141", want: "nothing has hostPort 4140"},
		{name: "headless_maps_no_port", overlay: "dns", old: "containerPort: 8080", new: "containerPort: 9000", want: "is headless, and no pod listens on its port 8080"},
		{name: "target_xds_short", overlay: "xds", old: "xds:///echo-server.grpc-lb-xds.svc.cluster.local:8080", new: "xds:///echo-server:8080", want: "expected <service>.grpc-lb-xds.svc.cluster.local, as istiod names a Service"},
		{name: "target_xds_in_another", overlay: "xds", old: "echo-server.grpc-lb-xds.svc", new: "echo-server.grpc-lb-l4.svc", want: "expected <service>.grpc-lb-xds.svc.cluster.local, as istiod names a Service"},
		{name: "target_xds_service", overlay: "xds", old: "xds:///echo-server.", new: "xds:///echo.", want: `no Service has the short name "echo"`},
		{name: "target_xds_port", overlay: "xds", old: "svc.cluster.local:8080", new: "svc.cluster.local:80", want: "Service/echo-server has no port 80"},
		{name: "target_whole_name_in_dns", overlay: "dns", old: "dns:///echo-server:8080", new: "dns:///echo-server.grpc-lb-dns.svc.cluster.local:8080", want: "no Service has the short name"},
		// checkDrain
		{name: "grace_too_short", overlay: "l4", old: "terminationGracePeriodSeconds: 30", new: "terminationGracePeriodSeconds: 25", want: "terminationGracePeriodSeconds is 25s, expected more than the 25s"},
		{name: "default_grace_too_short", overlay: "l4", old: "--drain-timeout=20s", new: "--drain-timeout=30s", want: "expected more than the 35s"},
		{name: "no_drain_flag", overlay: "l4", old: "--drain-delay=5s", new: "--drain-delay=5", want: "expected a duration"},
		// checkPodSecurity
		{name: "root", overlay: "l4", old: "runAsNonRoot: true", new: "runAsNonRoot: false", want: "Deployment/echo-server: pod security restricted: runAsNonRoot != true"},
		{name: "capabilities", overlay: "linkerd", old: "drop:\n            - ALL", new: "drop:\n            - CHOWN", want: "DaemonSet/l5d: pod security restricted: unrestricted capabilities"},
		{name: "host_network", overlay: "linkerd", old: "serviceAccountName: l5d", new: "serviceAccountName: l5d\n      hostNetwork: true", want: "DaemonSet/l5d: pod security restricted: host namespaces"},
		{name: "privileged_for_nothing", overlay: "l4", old: "enforce: restricted", new: "enforce: privileged", want: `enforces pod security "privileged", expected "restricted"`},
		{name: "restricted_forbids_sidecars", overlay: "istio", old: "enforce: privileged", new: "enforce: restricted", want: `expected "privileged"`},
		{name: "restricted_forbids_host_port", overlay: "linkerd", old: "enforce: privileged", new: "enforce: restricted", want: `expected "privileged"`},
		{name: "restricted_forbids_agents", overlay: "xds", old: "enforce: baseline", new: "enforce: restricted", want: `enforces pod security "restricted", expected "baseline"`},
		{name: "privileged_for_an_agent", overlay: "xds", old: "enforce: baseline", new: "enforce: privileged", want: `enforces pod security "privileged", expected "baseline"`},
		{name: "envoy_as_root", overlay: "envoy", old: "readOnlyRootFilesystem: true", new: "privileged: true", want: "Deployment/envoy: pod security restricted: privileged"},
		// checkTokens
		{name: "token_for_nothing", overlay: "l4", old: "automountServiceAccountToken: false\n      containers", new: "automountServiceAccountToken: true\n      containers", want: "workloads that may call the API: [Deployment/echo-client () Deployment/echo-server ()], expected []"},
		{name: "token_by_default", overlay: "dns", old: "automountServiceAccountToken: false", new: "imagePullSecrets: []", want: "[Deployment/echo-client () Deployment/echo-server ()]"},
		{name: "no_token", overlay: "k8s-api", old: "automountServiceAccountToken: true", new: "automountServiceAccountToken: false", want: "Deployment/echo-client: has permissions and no token"},
		{name: "one_verb_more", overlay: "k8s-api", old: "  verbs:\n  - list", new: "  verbs:\n  - get\n  - list", want: "[Deployment/echo-client (get+list+watch of endpointslices)]"},
		{name: "one_resource_more", overlay: "k8s-api", old: "  - endpointslices", new: "  - endpointslices\n  - pods", want: "(list+watch of endpointslices+pods)"},
		{name: "bound_elsewhere", overlay: "k8s-api", old: "- kind: ServiceAccount\n  name: echo-client\n  namespace: grpc-lb-k8s-api", new: "- kind: ServiceAccount\n  name: echo-client\n  namespace: default", want: "[Deployment/echo-client ()]"},
		{name: "cluster_role", overlay: "k8s-api", old: "kind: Role\nmetadata", new: "kind: ClusterRole\nmetadata", want: "ClusterRole/echo-client: reaches beyond the namespace"},
		// checkLinkerd
		{name: "admin_on_loopback", overlay: "linkerd", old: "ip: 0.0.0.0\n      port: 9990", new: "ip: 127.0.0.1\n      port: 9990", want: `admin.ip "127.0.0.1", expected 0.0.0.0`},
		{name: "phones_home", overlay: "linkerd", old: "enabled: false", new: "enabled: true", want: "usage.enabled must be false"},
		{name: "config_misspelt", overlay: "linkerd", old: "segments: 1", new: "segment: 1", want: `unknown field "routers[0].identifier.segment"`},
		{name: "config_not_yaml", overlay: "linkerd", old: "    admin:", new: "    admin: [", want: "linkerd's config.yaml: "},
		{name: "not_experimental", overlay: "linkerd", old: "experimental: true", new: "experimental: false", want: `router protocol "h2", experimental false`},
		{name: "identifier", overlay: "linkerd", old: "io.l5d.header.path", new: "io.l5d.header.token", want: `identifier "io.l5d.header.token"`},
		{name: "listens_elsewhere", overlay: "linkerd", old: "ip: 0.0.0.0\n            port: 4140", new: "ip: 0.0.0.0\n            port: 4141", want: "server port 4141 is no hostPort"},
		{name: "api_elsewhere", overlay: "linkerd", old: "--port=8001", new: "--port=8002", want: "namer io.l5d.k8s at port 8001"},
		{name: "dtab_grammar", overlay: "linkerd", old: " => /#/io.l5d.k8s", new: " -> /#/io.l5d.k8s", want: "linkerd's dtab"},
		{name: "dtab_grpc_service", overlay: "linkerd", old: "/svc/com.example.grpc.EchoService =>", new: "/svc/com.example.EchoService =>", want: `gRPC service "com.example.EchoService"`},
		{name: "dtab_service", overlay: "linkerd", old: "/grpc/echo-server", new: "/grpc/echo", want: `no Service "echo" in namespace "grpc-lb-linkerd"`},
		{name: "dtab_port", overlay: "linkerd", old: "/grpc/echo-server", new: "/http/echo-server", want: `Service "echo-server" has no port named "http"`},
		// checkEnvoy
		{name: "envoy_config_elsewhere", overlay: "envoy", old: "- /etc/envoy/envoy.yaml", new: "- /etc/envoy.yaml", want: `no ConfigMap is mounted as its --config-path "/etc/envoy.yaml"`},
		{name: "envoy_config_other_key", overlay: "envoy", old: "- /etc/envoy/envoy.yaml", new: "- /etc/envoy/config.yaml", want: `no ConfigMap is mounted as its --config-path "/etc/envoy/config.yaml"`},
		{name: "envoy_config_not_yaml", overlay: "envoy", old: "    admin:\n", new: "    admin: [\n", want: "envoy.yaml: "},
		{name: "envoy_admin_for_all", overlay: "envoy", old: "127.0.0.1, port_value: 9901", new: "0.0.0.0, port_value: 9901", want: "admin listens on 0.0.0.0:9901, expected 127.0.0.1"},
		{name: "envoy_listens_elsewhere", overlay: "envoy", old: "0.0.0.0, port_value: 8080", new: "0.0.0.0, port_value: 8082", want: "listener grpc at 0.0.0.0:8082, expected 0.0.0.0 and a port of the pod"},
		{name: "envoy_listens_on_loopback", overlay: "envoy", old: "0.0.0.0, port_value: 8081", new: "127.0.0.1, port_value: 8081", want: "listener ready at 127.0.0.1:8081"},
		{name: "envoy_port_without_listener", overlay: "envoy", old: "containerPort: 8081", new: "containerPort: 8082", want: "nothing listens on the pod's port 8082 (ready)"},
		{name: "envoy_service", overlay: "envoy", old: "address: echo-server, port_value", new: "address: echo, port_value", want: "cluster echo-server at echo:8080: no Service has that short name"},
		{name: "envoy_port", overlay: "envoy", old: "address: echo-server, port_value: 8080", new: "address: echo-server, port_value: 80", want: "cluster echo-server at echo-server:80: no pod of the Service listens on that port"},
		{name: "envoy_before_a_cluster_ip", overlay: "envoy", old: "clusterIP: None", new: "type: ClusterIP", want: "the Service is not headless"},
		{name: "envoy_admin_cluster", overlay: "envoy", old: "address: {address: 127.0.0.1, port_value: 9901}\n    overload", new: "address: {address: 127.0.0.1, port_value: 9902}\n    overload", want: "cluster admin at 127.0.0.1:9901: no Service"},
		{name: "envoy_no_health_check", overlay: "envoy", old: "health_checks:", new: "x:", want: "cluster echo-server has 0 health checks, expected 1"},
		{name: "envoy_health_of_another", overlay: "envoy", old: "service_name: com.example.grpc.EchoService", new: "service_name: com.example.EchoService", want: `checks the health of "com.example.EchoService"`},
		{name: "envoy_health_too_seldom", overlay: "envoy", old: "- interval: 2s", new: "- interval: 5s", want: `health_checks.interval "5s", expected less than echo-server's --drain-delay=5s`},
		{name: "envoy_no_pre_stop", overlay: "envoy", old: "preStop:", new: "postStart:", want: "no preStop command"},
		{name: "envoy_abrupt_drain", overlay: "envoy", old: "/drain_listeners?graceful ", new: "/drain_listeners ", want: "preStop does not ask for a graceful drain"},
		{name: "envoy_no_sleep", overlay: "envoy", old: "sleep 12", new: "true", want: "preStop does not sleep"},
		{name: "envoy_sleep_too_short", overlay: "envoy", old: "sleep 12", new: "sleep 10", want: `preStop sleeps 10 s, expected more than --drain-time-s "10"`},
		{name: "envoy_default_drain", overlay: "envoy", old: "- --drain-time-s\n        - \"10\"\n", new: "", want: `expected more than --drain-time-s ""`},
		{name: "envoy_grace_too_short", overlay: "envoy", old: "sleep 12", new: "sleep 30", want: "terminationGracePeriodSeconds is 30, expected more than the 30 that preStop sleeps"},
		// checkProxyless
		{name: "not_injected", overlay: "xds", old: `sidecar.istio.io/inject: "true"`, new: `sidecar.istio.io/inject: "false"`, want: "Deployment/echo-client: sidecar.istio.io/inject is false, expected true"},
		{name: "injected_for_nothing", overlay: "l4", old: "        app.kubernetes.io/part-of: grpc-lb\n    spec:", new: "        app.kubernetes.io/part-of: grpc-lb\n        sidecar.istio.io/inject: \"true\"\n    spec:", want: "Deployment/echo-server: sidecar.istio.io/inject is true, expected false"},
		{name: "injected_envoy", overlay: "xds", old: "inject.istio.io/templates: grpc-agent", new: "inject.istio.io/templates: sidecar", want: `inject.istio.io/templates is "sidecar", expected grpc-agent`},
		{name: "not_held", overlay: "xds", old: `"holdApplicationUntilProxyStarts": true`, new: `"holdApplicationUntilProxyStarts": false`, want: "does not hold the client"},
		{name: "hold_not_json", overlay: "xds", old: `{"holdApplicationUntilProxyStarts": true}`, new: `holdApplicationUntilProxyStarts`, want: "does not hold the client"},
		{name: "policy_of_its_own", overlay: "xds", old: "- --rate=50", new: "- --rate=50\n        - --lb-policy=round_robin", want: "--lb-policy=round_robin, expected none"},
		{name: "servers_injected", overlay: "xds", old: "    pod-security.kubernetes.io/enforce: baseline", new: "    istio-injection: enabled\n    pod-security.kubernetes.io/enforce: privileged", want: "Namespace/grpc-lb-xds: istio-injection puts a sidecar beside the servers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mutated := mutate(t, render(t, test.overlay), test.old, test.new)
			rejected(t, overlay.Check(test.overlay, decode(t, mutated)), test.want)
		})
	}
}

// A field that Kubernetes does not have is refused before any check.
func TestDecodeRejects(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{name: "misspelt_field", old: "replicas: 3", new: "replica: 3", want: `Deployment echo-client: strict decoding error: unknown field "spec.replica"`},
		{name: "unknown_kind", old: "kind: Service\n", new: "kind: Srevice\n", want: `no kind "Srevice"`},
		{name: "not_yaml", old: "kind: Service\n", new: "kind: [\n", want: "overlay: decoding object 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := overlay.Decode(mutate(t, render(t, "l4"), test.old, test.new))
			rejected(t, err, test.want)
		})
	}
}
