package balance

import (
	"net"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Envoy is the part of an Envoy's static configuration that decides how it spreads
// calls. Envoy itself validates the whole.
// Source: Envoy's API reference v3, config.bootstrap, cluster and endpoint.
type Envoy struct {
	Admin struct {
		Address EnvoyAddress `json:"address"`
	} `json:"admin"`
	StaticResources struct {
		Listeners []EnvoyListener `json:"listeners"`
		Clusters  []EnvoyCluster  `json:"clusters"`
	} `json:"static_resources"`
	DynamicResources map[string]any `json:"dynamic_resources"`
}

// EnvoyListener accepts the clients' connections.
type EnvoyListener struct {
	Name         string       `json:"name"`
	Address      EnvoyAddress `json:"address"`
	FilterChains []struct {
		Filters []struct {
			Name   string         `json:"name"`
			Config map[string]any `json:"typed_config"`
		} `json:"filters"`
	} `json:"filter_chains"`
}

// EnvoyCluster is a set of servers and how Envoy finds and uses them.
type EnvoyCluster struct {
	Name        string `json:"name"`
	Type        string `json:"type"` // STATIC if it is empty
	ClusterType struct {
		Name        string `json:"name"`
		TypedConfig struct {
			DNSLookupFamily string `json:"dns_lookup_family"`
			OneEndpoint     bool   `json:"all_addresses_in_single_endpoint"`
		} `json:"typed_config"`
	} `json:"cluster_type"`
	DNSLookupFamily string         `json:"dns_lookup_family"`
	LBPolicy        string         `json:"lb_policy"` // ROUND_ROBIN if it is empty
	HTTP2           map[string]any `json:"http2_protocol_options"`
	Protocols       map[string]struct {
		Explicit struct {
			HTTP2 map[string]any `json:"http2_protocol_options"`
		} `json:"explicit_http_config"`
		Downstream map[string]any `json:"use_downstream_protocol_config"`
		Auto       map[string]any `json:"auto_config"`
	} `json:"typed_extension_protocol_options"`
	LoadAssignment struct {
		Endpoints []struct {
			LBEndpoints []struct {
				Endpoint struct {
					Address EnvoyAddress `json:"address"`
				} `json:"endpoint"`
			} `json:"lb_endpoints"`
		} `json:"endpoints"`
	} `json:"load_assignment"`
	HealthChecks []struct {
		Interval        string `json:"interval"`
		GRPCHealthCheck struct {
			ServiceName string `json:"service_name"`
		} `json:"grpc_health_check"`
	} `json:"health_checks"`
}

// EnvoyAddress is an address at which Envoy listens or which it calls.
type EnvoyAddress struct {
	SocketAddress struct {
		Address    string `json:"address"`
		PortValue  int32  `json:"port_value"`
		IPv4Compat bool   `json:"ipv4_compat"`
	} `json:"socket_address"`
}

func (a EnvoyAddress) String() string {
	return net.JoinHostPort(a.SocketAddress.Address, strconv.Itoa(int(a.SocketAddress.PortValue)))
}

// Routed returns the names of the clusters to which the listeners' routes lead.
func (e Envoy) Routed() map[string]bool {
	all := map[string]bool{}
	for _, l := range e.StaticResources.Listeners {
		for _, chain := range l.FilterChains {
			for _, f := range chain.Filters {
				routedIn(f.Config, all)
			}
		}
	}
	return all
}

// routedIn finds the fields cluster and weighted_clusters of routes and TCP proxies.
func routedIn(value any, found map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			switch name, ok := inner.(string); {
			case key == "cluster" && ok:
				found[name] = true
			case key == "weighted_clusters":
				weighted, _ := inner.(map[string]any)
				for _, c := range objectsIn(weighted, "clusters") {
					if name, ok := c["name"].(string); ok {
						found[name] = true
					}
				}
			case key != "http_filters" && key != "access_log" && key != "tracing" && key != "request_mirror_policies":
				routedIn(inner, found)
			}
		}
	case []any:
		for _, inner := range v {
			routedIn(inner, found)
		}
	}
}

// target is the address as a target that DNS resolves.
func (a EnvoyAddress) target() Target {
	return Target{Scheme: "dns", Host: a.SocketAddress.Address, Port: strconv.Itoa(int(a.SocketAddress.PortValue))}
}

// ReadEnvoy reads a configuration in YAML or JSON.
func ReadEnvoy(content []byte) (Envoy, error) {
	var e Envoy
	err := yaml.Unmarshal(content, &e)
	return e, err
}

// Addresses returns the addresses that the cluster is given.
func (c EnvoyCluster) Addresses() []EnvoyAddress {
	var all []EnvoyAddress
	for _, e := range c.LoadAssignment.Endpoints {
		for _, lb := range e.LBEndpoints {
			all = append(all, lb.Endpoint.Address)
		}
	}
	return all
}

// OneAddress says why Envoy uses one address of a name that has several, or "".
func (c EnvoyCluster) OneAddress() string {
	switch {
	case c.Type == "LOGICAL_DNS":
		return "its type is LOGICAL_DNS, which uses the first address of the name alone; expected STRICT_DNS"
	case c.ClusterType.TypedConfig.OneEndpoint:
		return "all_addresses_in_single_endpoint is true, so that all addresses count as one server; expected false"
	case strings.HasSuffix(c.ClusterType.Name, "original_dst") || c.Type == "ORIGINAL_DST":
		return "its type is ORIGINAL_DST, which calls the address that the client chose; expected STRICT_DNS"
	}
	return ""
}

// SpeaksHTTP2 says whether Envoy calls the servers by HTTP/2, as gRPC needs it.
func (c EnvoyCluster) SpeaksHTTP2() bool {
	if c.HTTP2 != nil {
		return true
	}
	options, ok := c.Protocols["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
	return ok && (options.Explicit.HTTP2 != nil || options.Downstream != nil || options.Auto != nil)
}
