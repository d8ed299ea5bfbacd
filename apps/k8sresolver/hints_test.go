package k8sresolver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// hint adds hints to an endpoint, to zones and to nodes.
func hint(e discoveryv1.Endpoint, zones, nodes []string) discoveryv1.Endpoint {
	e.Hints = &discoveryv1.EndpointHints{}
	for _, z := range zones {
		e.Hints.ForZones = append(e.Hints.ForZones, discoveryv1.ForZone{Name: z})
	}
	for _, n := range nodes {
		e.Hints.ForNodes = append(e.Hints.ForNodes, discoveryv1.ForNode{Name: n})
	}
	return e
}

func zone(e discoveryv1.Endpoint, zones ...string) discoveryv1.Endpoint { return hint(e, zones, nil) }

// Tests which endpoints are used on the node n1 in the zone z1.
func TestJoin_Hints(t *testing.T) {
	p1, p2, p3 := pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready), pod("p3", "10.0.0.3", ready)
	all := []string{"10.0.0.1:8080 p1", "10.0.0.2:8080 p2", "10.0.0.3:8080 p3"}
	tests := []struct {
		name      string
		endpoints []discoveryv1.Endpoint
		want      []string
	}{
		{name: "none", endpoints: []discoveryv1.Endpoint{p1, p2, p3}, want: all},
		{name: "zone", endpoints: []discoveryv1.Endpoint{zone(p1, "z1"), zone(p2, "z2"), zone(p3, "z1", "z2")}, want: []string{all[0], all[2]}},
		{name: "zone_of_none", endpoints: []discoveryv1.Endpoint{zone(p1, "z2"), zone(p2, "z2"), zone(p3, "z3")}, want: all},
		{name: "one_without_a_hint", endpoints: []discoveryv1.Endpoint{zone(p1, "z1"), zone(p2, "z2"), p3}, want: all},
		{name: "one_with_an_empty_hint", endpoints: []discoveryv1.Endpoint{zone(p1, "z1"), zone(p2, "z2"), zone(p3)}, want: all},
		{
			name:      "unready_ones_need_no_hint",
			endpoints: []discoveryv1.Endpoint{zone(p1, "z1"), zone(p2, "z2"), pod("p3", "10.0.0.3", notReady)},
			want:      all[:1],
		},
		{
			name: "node_before_zone",
			endpoints: []discoveryv1.Endpoint{
				hint(p1, []string{"z1"}, []string{"n1"}), hint(p2, []string{"z1"}, []string{"n2"}), hint(p3, []string{"z2"}, []string{"n3"}),
			},
			want: all[:1],
		},
		{
			name: "zone_when_no_hint_names_the_node",
			endpoints: []discoveryv1.Endpoint{
				hint(p1, []string{"z1"}, []string{"n4"}), hint(p2, []string{"z1"}, []string{"n2"}), hint(p3, []string{"z2"}, []string{"n3"}),
			},
			want: all[:2],
		},
		{
			name:      "zone_when_one_lacks_a_node",
			endpoints: []discoveryv1.Endpoint{hint(p1, []string{"z1"}, []string{"n1"}), zone(p2, "z1"), zone(p3, "z2")},
			want:      all[:2],
		},
		{
			name: "none_while_the_last_ones_drain",
			endpoints: []discoveryv1.Endpoint{
				zone(pod("p1", "10.0.0.1", draining), "z1"), zone(pod("p2", "10.0.0.2", draining), "z2"),
			},
			want: []string{all[0] + " terminating", all[1] + " terminating"},
		},
		{name: "a_name_is_no_prefix", endpoints: []discoveryv1.Endpoint{zone(p1, "z10"), zone(p2, "z11"), zone(p3, "z12")}, want: all},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state, err := k8sresolver.JoinHere([]*discoveryv1.EndpointSlice{newSlice("a", test.endpoints...)}, "grpc", 0, "n1", "z1")
			if diff := cmp.Diff(test.want, describe(state)); diff != "" || err != nil {
				t.Errorf("Join() error = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// Tests that the node and the zone come from the environment, that options replace
// and remove them, and that a place that is not known means all endpoints.
func TestHints_Place(t *testing.T) {
	local, all := []string{"10.0.0.1:8080 p1"}, []string{"10.0.0.1:8080 p1", "10.0.0.2:8080 p2"}
	tests := []struct {
		name, env string
		opts      []k8sresolver.Option
		want      []string
	}{
		{name: "environment", env: "1", want: local},
		{name: "option", env: "9", opts: []k8sresolver.Option{k8sresolver.WithZone("z1")}, want: local},
		{name: "node_option", env: "9", opts: []k8sresolver.Option{k8sresolver.WithNode("n1")}, want: local},
		{name: "off", env: "1", opts: []k8sresolver.Option{k8sresolver.WithZone(""), k8sresolver.WithNode("")}, want: all},
		{name: "unknown", want: all},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.env != "" {
				t.Setenv("NODE_NAME", "n"+test.env)
				t.Setenv("POD_ZONE", "z"+test.env)
			}
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				api.set(newSlice("a",
					hint(pod("p1", "10.0.0.1", ready), []string{"z1"}, []string{"n1"}),
					hint(pod("p2", "10.0.0.2", ready), []string{"z2"}, []string{"n2"})))
				cc, r := open(t, k8sresolver.NewBuilder(newClient(t, cfg), append(test.opts, quiet())...), "k8s:///echo-server.shop")
				defer r.Close()
				cc.wantEndpoints(t, test.want...)
			})
		})
	}
}

// Tests that all endpoints are used at once when the hints go away, and soon when
// other changes keep coming, and that only the local ones are when hints come back.
func TestHints_Lost(t *testing.T) {
	for _, test := range []struct {
		name         string
		pause, limit time.Duration
	}{
		{name: "after_a_pause", pause: 200 * time.Millisecond},
		{name: "among_changes", limit: 110 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				hinted := newSlice("a", zone(pod("p1", "10.0.0.1", ready), "z1"))
				other := newSlice("b", zone(pod("p2", "10.0.0.2", ready), "z2"))
				api.set(hinted, other)
				cc, r := open(t, k8sresolver.NewBuilder(newClient(t, cfg), k8sresolver.WithZone("z1"), quiet()), "k8s:///echo-server.shop")
				defer r.Close()
				cc.wantEndpoints(t, "10.0.0.1:8080 p1")
				for range 30 { // longer than a burst
					<-time.After(test.pause)
					api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
					began := time.Now()
					cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
					if took := time.Since(began); took > test.limit {
						t.Errorf("all endpoints were used %v after the hints were lost, want %v at most", took, test.limit)
					}
					api.set(other)
					cc.wantEndpoints(t, "10.0.0.1:8080 p1")
				}
			})
		})
	}
}
