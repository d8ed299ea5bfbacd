package check_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// The checkout holds to every rule.
func TestCheck(t *testing.T) {
	violations, err := check.Checkout(manifesttest.Checkout(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Errorf("%v: %v", v.Overlays, v)
	}
}

// Everything by every rule; the goal is 2 s.
func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		repository, err := manifest.Find(".")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := check.Checkout(repository); err != nil {
			b.Fatal(err)
		}
	}
}

// Each rule refuses a rendering in which one thing is wrong.
func TestCheckRejects(t *testing.T) {
	server, serverNow := manifesttest.Released(t, "echo-server")
	tests := []struct {
		rule    string
		name    string
		overlay string
		old     string // all of these in the rendering
		new     string
		want    string
	}{
		{rule: "namespace", name: "namespace_of_another", overlay: "dns", old: "name: grpc-lb-dns", new: "name: grpc-lb-l4", want: `Namespace "grpc-lb-l4", expected "grpc-lb-dns"`},
		{rule: "namespace", name: "object_elsewhere", overlay: "l4", old: "  name: echo-server\n  namespace: grpc-lb-l4", new: "  name: echo-server\n  namespace: default", want: `Deployment/echo-server: is in namespace "default"`},
		{rule: "namespace", name: "no_namespace", overlay: "l4", old: "kind: Namespace", new: "kind: ServiceAccount", want: "0 Namespaces, expected 1"},
		{rule: "namespace-string", name: "dtab_of_another", overlay: "linkerd", old: "io.l5d.k8s/grpc-lb-linkerd/", new: "io.l5d.k8s/grpc-lb-dns/", want: `contains namespace "grpc-lb-dns", expected "grpc-lb-linkerd"`},
		{rule: "namespace-string", name: "target_in_another", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo-server.default.svc.cluster.local:8080", want: `"default.svc" contains namespace "default"`},
		{rule: "component", name: "two_servers", overlay: "l4", old: "app.kubernetes.io/component: client", new: "app.kubernetes.io/component: server", want: "2 Deployments are labelled app.kubernetes.io/component: server, expected 1"},
		{rule: "component", name: "unlabelled", overlay: "l4", old: "    app.kubernetes.io/component: server\n", new: "", want: "0 Deployments are labelled app.kubernetes.io/component: server, expected 1"},
		{rule: "component", name: "container_of_another_name", overlay: "l4", old: "        name: echo-client\n        resources", new: "        name: client\n        resources", want: `Deployment/echo-client: its first container is named "client", expected "echo-client"`},
		{rule: "component", name: "pods_of_another_name", overlay: "l4", old: "        app.kubernetes.io/name: echo-client\n        app.kubernetes.io/part-of", new: "        app.kubernetes.io/name: client\n        app.kubernetes.io/part-of", want: "its pods are labelled app.kubernetes.io/name: client, expected echo-client"},
		{rule: "component", name: "service_of_another_name", overlay: "l4", old: "  name: echo-server\n  namespace: grpc-lb-l4\nspec:\n  ports", new: "  name: echo\n  namespace: grpc-lb-l4\nspec:\n  ports", want: `Deployment/echo-server: no Service "echo-server" leads to its pods`},
		{rule: "rbac", name: "token_for_another_strategy", overlay: "k8s-api", old: "k8s:///echo-server:grpc", new: "dns:///echo-server:8080", want: "expected []"},
		{rule: "linkerd-config", name: "dtab_of_another_probe", overlay: "linkerd", old: "service: com.example.grpc.EchoService", new: "service: shop.v1.Shop", want: `gRPC service "com.example.grpc.EchoService", expected "shop.v1.Shop"`},
		{rule: "selector", name: "selector_with_two_labels", overlay: "l4", old: "  selector:\n    app.kubernetes.io/name: echo-server", new: "  selector:\n    app.kubernetes.io/name: echo-server\n    app.kubernetes.io/part-of: grpc-lb", want: "expected app.kubernetes.io/name alone"},
		{rule: "selector", name: "selector_of_nothing", overlay: "l4", old: "  selector:\n    app.kubernetes.io/name: echo-server", new: "  selector:\n    app.kubernetes.io/name: echo", want: "Service/echo-server: selector map[app.kubernetes.io/name:echo] matches no pod"},
		{rule: "selector", name: "budget_of_nothing", overlay: "l4", old: "maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: echo-server", new: "maxUnavailable: 1\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: echo", want: "PodDisruptionBudget/echo-server: selector map[app.kubernetes.io/name:echo] matches no pod"},
		{rule: "selector", name: "spread_of_others", overlay: "l4", old: "- labelSelector:\n          matchLabels:\n            app.kubernetes.io/name: echo-client", new: "- labelSelector:\n          matchLabels:\n            app.kubernetes.io/name: echo-server", want: "Deployment/echo-client: topology spread"},
		{rule: "image-pinned", name: "latest", overlay: "l4", old: serverNow, new: server + ":latest", want: "expected a tag other than latest"},
		{rule: "image-pinned", name: "no_tag", overlay: "linkerd", old: "kubectl:v1.37.2", new: "kubectl", want: `image "registry.k8s.io/kubectl"`},
		{rule: "resource-requests", name: "no_request", overlay: "l4", old: "            cpu: 20m\n", new: "", want: "Deployment/echo-client: container echo-client: requests no cpu"},
		{rule: "reference", name: "no_config_map", overlay: "linkerd", old: "- configMap:\n          name: l5d-", new: "- configMap:\n          name: l5d-x-", want: "DaemonSet/l5d: volume config: no ConfigMap"},
		{rule: "reference", name: "no_account", overlay: "l4", old: "serviceAccountName: echo-client", new: "serviceAccountName: client", want: `no ServiceAccount "client"`},
		{rule: "variable", name: "unset_variable", overlay: "linkerd", old: "- name: HOST_IP", new: "- name: NODE_IP", want: "$(HOST_IP)"},
		{rule: "service-port", name: "app_protocol", overlay: "l4", old: "kubernetes.io/h2c", new: "grpc", want: "expected name grpc and appProtocol kubernetes.io/h2c"},
		{rule: "service-target-port", name: "target_port", overlay: "l4", old: "targetPort: grpc", new: "targetPort: http", want: "Service/echo-server: target port http is none of Deployment/echo-server"},
		{rule: "service-target-port", name: "target_port_by_default", overlay: "l4", old: "port: 8080\n    targetPort: grpc", new: "port: 80", want: "target port 80 is none of"},
		{rule: "probe", name: "no_readiness", overlay: "l4", old: "readinessProbe:", new: "startupProbe:", want: "Deployment/echo-server: container echo-server: it has ports, but no readiness"},
		{rule: "service-kind", name: "round_robin_over_one", overlay: "dns", old: "clusterIP: None", new: "type: ClusterIP", want: "Service/echo-server: has a cluster IP"},
		{rule: "client-policy", name: "pick_first_of_pods", overlay: "l4", old: "  ports:\n  - appProtocol", new: "  clusterIP: None\n  ports:\n  - appProtocol", want: "Deployment/echo-client: policy pick_first: the client calls one pod alone"},
		{rule: "service-kind", name: "headless_in_a_mesh", overlay: "istio", old: "  ports:\n  - appProtocol", new: "  clusterIP: None\n  ports:\n  - appProtocol", want: "a mesh does not balance calls to a headless Service"},
		{rule: "service-kind", name: "headless_in_xds", overlay: "xds", old: "  ports:\n  - appProtocol", new: "  clusterIP: None\n  ports:\n  - appProtocol", want: "a mesh does not balance calls to a headless Service"},
		{rule: "probe-port", name: "probe_port", overlay: "l4", old: "grpc:\n            port: 8080", new: "grpc:\n            port: 8081", want: "probe's port 8081"},
		{rule: "client-target", name: "target_service", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo:8080", want: `no Service has the short name "echo"`},
		{rule: "client-target", name: "target_port_number", overlay: "dns", old: "dns:///echo-server:8080", new: "dns:///echo-server:80", want: `Service/echo-server is headless, and no pod listens on its port 80, expected the pods' port 8080`},
		{rule: "client-target", name: "target_port_name", overlay: "k8s-api", old: "k8s:///echo-server:grpc", new: "k8s:///echo-server:http", want: "Service/echo-server has no port http"},
		{rule: "client-target", name: "target_port_name_in_dns", overlay: "dns", old: "dns:///echo-server:8080", new: "dns:///echo-server:grpc", want: `port "grpc", expected a number from 1 to 65535`},
		{rule: "client-target", name: "target_without_port", overlay: "l4", old: "dns:///echo-server:8080", new: "dns:///echo-server", want: `Service/echo-server has no port 443, expected 8080 (grpc)`},
		{rule: "client-target", name: "target_without_brackets", overlay: "linkerd", old: "[$(HOST_IP)]:4140", new: "fd00::1:4140", want: `it has no port, expected fd00::1:4140:PORT`},
		{rule: "client-target", name: "target_host_port", overlay: "linkerd", old: "hostPort: 4140", new: "hostPort: 4141", want: "nothing has hostPort 4140"},
		{rule: "client-target", name: "headless_maps_no_port", overlay: "dns", old: "containerPort: 8080", new: "containerPort: 9000", want: "is headless, and no pod listens on its port 8080"},
		{rule: "client-target", name: "target_xds_in_another", overlay: "xds", old: "xds:///echo-server:", new: "xds:///echo-server.grpc-lb-l4.svc.cluster.local:", want: `namespace "grpc-lb-l4" has no Service "echo-server"`},
		{rule: "client-target", name: "target_xds_with_a_last_dot", overlay: "xds", old: "xds:///echo-server:", new: "xds:///echo-server.grpc-lb-xds.svc.cluster.local.:", want: `istiod knows no name with a dot at the end`},
		{rule: "client-target", name: "target_xds_outside", overlay: "xds", old: "xds:///echo-server:", new: "xds:///echo-server.grpc-lb-xds.com:", want: `leads to "echo-server.grpc-lb-xds.com", and to nothing that the overlay renders`},
		{rule: "client-target", name: "target_xds_service", overlay: "xds", old: "xds:///echo-server:", new: "xds:///echo:", want: `no Service has the short name "echo"`},
		{rule: "client-target", name: "target_xds_port", overlay: "xds", old: "xds:///echo-server:8080", new: "xds:///echo-server:80", want: "Service/echo-server has no port 80"},
		{rule: "drain-grace", name: "grace_too_short", overlay: "l4", old: "terminationGracePeriodSeconds: 30", new: "terminationGracePeriodSeconds: 25", want: "terminationGracePeriodSeconds is 25s, expected more than the 25s"},
		{rule: "drain-grace", name: "default_grace_too_short", overlay: "l4", old: "--drain-timeout=20s", new: "--drain-timeout=30s", want: "expected more than the 35s"},
		{rule: "drain-grace", name: "no_drain_flag", overlay: "l4", old: "--drain-delay=5s", new: "--drain-delay=5", want: "expected a duration"},
		{rule: "pod-security", name: "root", overlay: "l4", old: "runAsNonRoot: true", new: "runAsNonRoot: false", want: "Deployment/echo-server: pod security restricted: runAsNonRoot != true"},
		{rule: "pod-security", name: "capabilities", overlay: "linkerd", old: "drop:\n            - ALL", new: "drop:\n            - CHOWN", want: "DaemonSet/l5d: pod security restricted: unrestricted capabilities"},
		{rule: "pod-security", name: "host_network", overlay: "linkerd", old: "serviceAccountName: l5d", new: "serviceAccountName: l5d\n      hostNetwork: true", want: "DaemonSet/l5d: pod security restricted: host namespaces"},
		{rule: "pod-security", name: "privileged_for_nothing", overlay: "l4", old: "enforce: restricted", new: "enforce: privileged", want: `enforces pod security "privileged", expected "restricted"`},
		{rule: "pod-security", name: "restricted_forbids_sidecars", overlay: "istio", old: "enforce: privileged", new: "enforce: restricted", want: `expected "privileged"`},
		{rule: "pod-security", name: "restricted_forbids_host_port", overlay: "linkerd", old: "enforce: privileged", new: "enforce: restricted", want: `expected "privileged"`},
		{rule: "pod-security", name: "restricted_forbids_agents", overlay: "xds", old: "enforce: baseline", new: "enforce: restricted", want: `enforces pod security "restricted", expected "baseline"`},
		{rule: "pod-security", name: "privileged_for_an_agent", overlay: "xds", old: "enforce: baseline", new: "enforce: privileged", want: `enforces pod security "privileged", expected "baseline"`},
		{rule: "pod-security", name: "envoy_as_root", overlay: "envoy", old: "readOnlyRootFilesystem: true", new: "privileged: true", want: "Deployment/envoy: pod security restricted: privileged"},
		{rule: "rbac", name: "token_for_nothing", overlay: "l4", old: "automountServiceAccountToken: false\n      containers", new: "automountServiceAccountToken: true\n      containers", want: "workloads that may call the API: [Deployment/echo-client () Deployment/echo-server ()], expected []"},
		{rule: "rbac", name: "token_by_default", overlay: "dns", old: "automountServiceAccountToken: false", new: "imagePullSecrets: []", want: "[Deployment/echo-client () Deployment/echo-server ()]"},
		{rule: "rbac", name: "no_token", overlay: "k8s-api", old: "automountServiceAccountToken: true", new: "automountServiceAccountToken: false", want: "Deployment/echo-client: has permissions, but no token"},
		{rule: "rbac", name: "one_verb_more", overlay: "k8s-api", old: "  verbs:\n  - list", new: "  verbs:\n  - get\n  - list", want: "[Deployment/echo-client (get+list+watch of endpointslices)]"},
		{rule: "rbac", name: "one_resource_more", overlay: "k8s-api", old: "  - endpointslices", new: "  - endpointslices\n  - pods", want: "(list+watch of endpointslices+pods)"},
		{rule: "rbac", name: "bound_elsewhere", overlay: "k8s-api", old: "- kind: ServiceAccount\n  name: echo-client\n  namespace: grpc-lb-k8s-api", new: "- kind: ServiceAccount\n  name: echo-client\n  namespace: default", want: "[Deployment/echo-client ()]"},
		{rule: "rbac", name: "cluster_role", overlay: "k8s-api", old: "kind: Role\nmetadata", new: "kind: ClusterRole\nmetadata", want: "ClusterRole/echo-client: grants access beyond the namespace"},
		{rule: "linkerd-config", name: "admin_on_loopback", overlay: "linkerd", old: "ip: 0.0.0.0\n      port: 9990", new: "ip: 127.0.0.1\n      port: 9990", want: `admin.ip "127.0.0.1", expected 0.0.0.0`},
		{rule: "linkerd-config", name: "admin_ends_it", overlay: "linkerd", old: "controlEnabled: false", new: "controlEnabled: true", want: "lets the admin port answer at /admin/shutdown: anybody could end the process"},
		{rule: "linkerd-config", name: "admin_ends_it_by_default", overlay: "linkerd", old: "        controlEnabled: false\n", new: "", want: "lets the admin port answer at /logging.json: anybody could change its log level"},
		{rule: "linkerd-config", name: "admin_ends_it_by_two_slashes", overlay: "linkerd", old: "diagnosticsEnabled: false", new: "diagnosticsEnabled: true", want: "lets the admin port answer at /admin//shutdown"},
		{rule: "linkerd-config", name: "admin_ends_it_by_the_list", overlay: "linkerd", old: "^/admin/ping$", new: "^/admin/.*$", want: "lets the admin port answer at /admin/shutdown"},
		{rule: "linkerd-config", name: "admin_hides_metrics", overlay: "linkerd", old: "uiEnabled: true", new: "uiEnabled: false", want: "keeps the admin port from answering at /admin/metrics.json: `lab run` reads"},
		{rule: "linkerd-config", name: "admin_forbids_metrics", overlay: "linkerd", old: "pathWhitelist:", new: "pathBlacklist: [.*json]\n        pathWhitelist:", want: "keeps the admin port from answering at /admin/metrics.json"},
		{rule: "linkerd-config", name: "admin_hides_the_probes", overlay: "linkerd", old: "^/admin/ping$", new: "^/ping$", want: "keeps the admin port from answering at /admin/ping: a probe asks there"},
		{rule: "linkerd-config", name: "admin_lists_a_part", overlay: "linkerd", old: "^/admin/ping$", new: "/admin/pin", want: "keeps the admin port from answering at /admin/ping"},
		{rule: "linkerd-config", name: "admin_hides_prometheus", overlay: "linkerd", old: "^/admin/metrics/prometheus$", new: "^/admin/prometheus$", want: "keeps the admin port from answering at /admin/metrics/prometheus: telemetry io.l5d.prometheus"},
		{rule: "linkerd-config", name: "admin_list_not_an_expression", overlay: "linkerd", old: "^/admin/ping$", new: `"("`, want: "admin.security: error parsing regexp"},
		{rule: "linkerd-config", name: "listens_on_loopback", overlay: "linkerd", old: "- ip: 0.0.0.0", new: "- ip: 127.0.0.1", want: `server ip "127.0.0.1", expected 0.0.0.0`},
		{rule: "linkerd-config", name: "phones_home", overlay: "linkerd", old: "enabled: false", new: "enabled: true", want: "expected usage.enabled: false"},
		{rule: "linkerd-config", name: "config_misspelt", overlay: "linkerd", old: "segments: 1", new: "segment: 1", want: `unknown field "routers[0].identifier.segment"`},
		{rule: "linkerd-config", name: "config_not_yaml", overlay: "linkerd", old: "    admin:", new: "    admin: [", want: "config.yaml: "},
		{rule: "linkerd-config", name: "config_not_mounted", overlay: "linkerd", old: "- /config/config.yaml", new: "- /etc/config.yaml", want: `DaemonSet/l5d: no ConfigMap is mounted as its configuration "/etc/config.yaml"`},
		{rule: "linkerd-config", name: "not_experimental", overlay: "linkerd", old: "experimental: true", new: "experimental: false", want: `router protocol "h2", experimental false`},
		{rule: "linkerd-config", name: "identifier", overlay: "linkerd", old: "io.l5d.header.path", new: "io.l5d.header.token", want: `identifier "io.l5d.header.token"`},
		{rule: "linkerd-config", name: "listens_elsewhere", overlay: "linkerd", old: "ip: 0.0.0.0\n            port: 4140", new: "ip: 0.0.0.0\n            port: 4141", want: "server port 4141 is not a hostPort"},
		{rule: "linkerd-config", name: "api_elsewhere", overlay: "linkerd", old: "--port=8001", new: "--port=8002", want: "namer io.l5d.k8s at port 8001"},
		{rule: "linkerd-config", name: "dtab_grammar", overlay: "linkerd", old: " => /#/io.l5d.k8s", new: " -> /#/io.l5d.k8s", want: "config.yaml: dtab"},
		{rule: "linkerd-config", name: "dtab_grpc_service", overlay: "linkerd", old: "/svc/com.example.grpc.EchoService =>", new: "/svc/com.example.EchoService =>", want: `gRPC service "com.example.EchoService"`},
		{rule: "linkerd-config", name: "dtab_service", overlay: "linkerd", old: "/grpc/echo-server", new: "/grpc/echo", want: `no Service "echo" in namespace "grpc-lb-linkerd"`},
		{rule: "linkerd-config", name: "dtab_port", overlay: "linkerd", old: "/grpc/echo-server", new: "/http/echo-server", want: `Service "echo-server" has no port named "http"`},
		{rule: "envoy-config", name: "envoy_config_elsewhere", overlay: "envoy", old: "- /etc/envoy/envoy.yaml", new: "- /etc/envoy.yaml", want: `no ConfigMap is mounted as its --config-path "/etc/envoy.yaml"`},
		{rule: "envoy-config", name: "envoy_config_other_key", overlay: "envoy", old: "- /etc/envoy/envoy.yaml", new: "- /etc/envoy/config.yaml", want: `no ConfigMap is mounted as its --config-path "/etc/envoy/config.yaml"`},
		{rule: "envoy-config", name: "envoy_config_not_yaml", overlay: "envoy", old: "    admin:\n", new: "    admin: [\n", want: "envoy.yaml: "},
		{rule: "envoy-config", name: "envoy_admin_for_all", overlay: "envoy", old: "127.0.0.1, port_value: 9901", new: "0.0.0.0, port_value: 9901", want: "admin listens on 0.0.0.0:9901, expected 127.0.0.1 or ::1"},
		{rule: "envoy-config", name: "envoy_listens_elsewhere", overlay: "envoy", old: `"::", ipv4_compat: true, port_value: 8080`, new: `"::", ipv4_compat: true, port_value: 8082`, want: "listener grpc at [::]:8082, expected ::, or 0.0.0.0, and a port of the pod"},
		{rule: "envoy-config", name: "envoy_listens_on_loopback", overlay: "envoy", old: `"::", ipv4_compat: true, port_value: 8081`, new: "127.0.0.1, port_value: 8081", want: "listener ready at 127.0.0.1:8081"},
		{rule: "envoy-config", name: "envoy_listens_on_loopback_6", overlay: "envoy", old: `"::", ipv4_compat: true, port_value: 8081`, new: `"::1", port_value: 8081`, want: "listener ready at [::1]:8081"},
		{rule: "envoy-config", name: "envoy_admin_for_all_6", overlay: "envoy", old: "127.0.0.1, port_value: 9901", new: `"::", port_value: 9901`, want: "admin listens on [::]:9901, expected 127.0.0.1 or ::1"},
		{rule: "envoy-config", name: "envoy_port_without_listener", overlay: "envoy", old: "containerPort: 8081", new: "containerPort: 8082", want: "nothing listens on the pod's port 8082 (ready)"},
		{rule: "envoy-upstream", name: "envoy_service", overlay: "envoy", old: "address: echo-server, port_value", new: "address: echo, port_value", want: `cluster echo-server at echo:8080: no Service has the short name`},
		{rule: "envoy-upstream", name: "envoy_port", overlay: "envoy", old: "address: echo-server, port_value: 8080", new: "address: echo-server, port_value: 80", want: `cluster echo-server at echo-server:80: Service/echo-server is headless, and no pod listens on its port 80`},
		{rule: "envoy-upstream", name: "envoy_before_a_cluster_ip", overlay: "envoy", old: "clusterIP: None", new: "type: ClusterIP", want: "the Service is not headless"},
		{rule: "envoy-upstream", name: "envoy_admin_cluster", overlay: "envoy", old: "address: {address: 127.0.0.1, port_value: 9901}\n    overload", new: "address: {address: 127.0.0.1, port_value: 9902}\n    overload", want: `cluster admin at 127.0.0.1:9901: no Service has a loopback address`},
		{rule: "envoy-config", name: "envoy_no_health_check", overlay: "envoy", old: "health_checks:", new: "x:", want: "cluster echo-server has 0 health checks, expected 1"},
		{rule: "envoy-config", name: "envoy_health_of_another", overlay: "envoy", old: "service_name: com.example.grpc.EchoService", new: "service_name: com.example.EchoService", want: `checks the health of "com.example.EchoService"`},
		{rule: "envoy-config", name: "envoy_health_too_seldom", overlay: "envoy", old: "- interval: 2s", new: "- interval: 5s", want: `health_checks.interval "5s", expected less than echo-server's --drain-delay=5s`},
		{rule: "envoy-drain", name: "envoy_no_pre_stop", overlay: "envoy", old: "preStop:", new: "postStart:", want: "no preStop command"},
		{rule: "envoy-drain", name: "envoy_abrupt_drain", overlay: "envoy", old: "/drain_listeners?graceful ", new: "/drain_listeners ", want: "preStop does not ask for a graceful drain"},
		{rule: "envoy-drain", name: "envoy_no_sleep", overlay: "envoy", old: "sleep 12", new: "true", want: "preStop does not sleep"},
		{rule: "envoy-drain", name: "envoy_sleep_too_short", overlay: "envoy", old: "sleep 12", new: "sleep 10", want: `preStop sleeps 10 s, expected more than --drain-time-s "10"`},
		{rule: "envoy-drain", name: "envoy_default_drain", overlay: "envoy", old: "- --drain-time-s\n        - \"10\"\n", new: "", want: `expected more than --drain-time-s ""`},
		{rule: "envoy-drain", name: "envoy_grace_too_short", overlay: "envoy", old: "sleep 12", new: "sleep 30", want: "terminationGracePeriodSeconds is 30, expected more than the 30 that preStop sleeps"},
		{rule: "xds-injection", name: "not_injected", overlay: "xds", old: `sidecar.istio.io/inject: "true"`, new: `sidecar.istio.io/inject: "false"`, want: "Deployment/echo-client: sidecar.istio.io/inject is false, expected true"},
		{rule: "xds-injection", name: "injected_for_nothing", overlay: "l4", old: "        app.kubernetes.io/part-of: grpc-lb\n    spec:", new: "        app.kubernetes.io/part-of: grpc-lb\n        sidecar.istio.io/inject: \"true\"\n    spec:", want: "Deployment/echo-server: sidecar.istio.io/inject is true, expected false"},
		{rule: "xds-injection", name: "injected_envoy", overlay: "xds", old: "inject.istio.io/templates: grpc-agent", new: "inject.istio.io/templates: sidecar", want: `inject.istio.io/templates is "sidecar", expected grpc-agent`},
		{rule: "xds-injection", name: "not_held", overlay: "xds", old: `"holdApplicationUntilProxyStarts": true`, new: `"holdApplicationUntilProxyStarts": false`, want: "does not hold the client"},
		{rule: "xds-injection", name: "hold_not_json", overlay: "xds", old: `{"holdApplicationUntilProxyStarts": true}`, new: `holdApplicationUntilProxyStarts`, want: "does not hold the client"},
		{rule: "xds-injection", name: "policy_of_its_own", overlay: "xds", old: "- --target=xds:///echo-server:8080", new: "- --target=xds:///echo-server:8080\n        - --lb-policy=round_robin", want: "--lb-policy=round_robin, expected none"},
		{rule: "xds-injection", name: "servers_injected", overlay: "xds", old: "    pod-security.kubernetes.io/enforce: baseline", new: "    istio-injection: enabled\n    pod-security.kubernetes.io/enforce: privileged", want: "Namespace/grpc-lb-xds: istio-injection puts a sidecar beside the servers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mutated := manifesttest.Mutate(t, manifesttest.Render(t, test.overlay), test.old, test.new)
			err := check.Objects(test.overlay, manifesttest.Decode(t, mutated))
			manifesttest.Rejected(t, err, test.want)
			manifesttest.Rejected(t, err, "("+test.rule+")")
		})
	}
}

// Pods without a container, which no API server takes, are violations and no panic.
func TestCheckWithoutContainers(t *testing.T) {
	for _, name := range manifesttest.All(t) {
		objects := manifesttest.Decode(t, manifesttest.Render(t, name))
		for _, o := range objects {
			switch typed := o.(type) {
			case *appsv1.Deployment:
				typed.Spec.Template.Spec.Containers = nil
			case *appsv1.DaemonSet:
				typed.Spec.Template.Spec.Containers = nil
			}
		}
		manifesttest.Rejected(t, check.Objects(name, objects), "(client-target)")
	}
}

// The Service of a client that balances its calls itself must be headless, whatever
// policy it balances by.
func TestServiceKindOfPolicies(t *testing.T) {
	for _, test := range []struct{ policy, want string }{
		{policy: "round_robin"},
		{policy: "weighted_round_robin"},
		{policy: "a_policy_of_its_own"},
		{policy: "pick_first", want: "policy pick_first: the client calls one pod alone"},
		{policy: "roundrobin", want: `policy "roundrobin" is not registered in gRPC, expected round_robin`},
	} {
		dns := manifesttest.Mutate(t, manifesttest.Render(t, "dns"), "--lb-policy=round_robin", "--lb-policy="+test.policy)
		headless := check.Objects("dns", manifesttest.Decode(t, dns))
		addressed := check.Objects("dns", manifesttest.Decode(t, manifesttest.Mutate(t, dns, "clusterIP: None", "type: ClusterIP")))
		if test.want != "" {
			manifesttest.Rejected(t, headless, test.want)
			continue
		}
		if headless != nil {
			t.Errorf("%s: %v", test.policy, headless)
		}
		manifesttest.Rejected(t, addressed, "has a cluster IP, expected clusterIP: None")
	}
}

// A setting in a variable, as programs of other services have it, is judged like
// one in a flag.
func TestSettings(t *testing.T) {
	const target, drain = "        - --target=dns:///echo-server:8080\n", "        - --drain-delay=5s\n"
	asVariables := manifesttest.Mutate(t, manifesttest.Mutate(t, manifesttest.Render(t, "l4"), target, ""), drain, "")
	asVariables = manifesttest.Mutate(t, asVariables, "        env:\n", "        env:\n        - name: TARGET\n          value: dns:///echo-server:8080\n        - name: DRAIN_DELAY\n          value: 5s\n")
	if err := check.Objects("l4", manifesttest.Decode(t, asVariables)); err != nil {
		t.Error(err)
	}
	manifesttest.Rejected(t, check.Objects("l4", manifesttest.Decode(t, manifesttest.Mutate(t, asVariables, "value: 5s", "value: 15s"))), "(drain-grace)")
	manifesttest.Rejected(t, check.Objects("l4", manifesttest.Decode(t, manifesttest.Mutate(t, asVariables, "name: TARGET", "name: OTHER"))), "(client-target)")
}
