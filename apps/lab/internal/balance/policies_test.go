package balance_test

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// unneeded are policies of base that a strategy has and could do without.
var unneeded = map[string][]string{
	"k8s-api": {"dns"},                               // it asks the API server by its address
	"envoy":   {"echo-client", "echo-server"},        // the client calls Envoy
	"gateway": {"echo-client", "echo-server"},        // the client calls the Gateway's proxy
	"linkerd": {"dns", "echo-client", "echo-server"}, // the client calls l5d at its node's address
}

// The policies of every strategy admit what its calls need, and without any one of them
// a call or what it needs is closed.
func TestOverlaysUnderPolicies(t *testing.T) {
	for _, name := range manifesttest.All(t) {
		t.Run(name, func(t *testing.T) {
			rendered, err := manifesttest.Checkout(t).RenderWithPolicies(name)
			if err != nil {
				t.Fatal(err)
			}
			objects := manifesttest.Decode(t, rendered)
			if seen := closedBy(objects); len(seen) > 0 {
				t.Errorf("its policies close %q", seen)
			}
			for i, o := range objects {
				policy, ok := o.(*networkingv1.NetworkPolicy)
				if !ok || policy.Name == "default-deny" {
					continue
				}
				needed := len(closedBy(slices.Delete(slices.Clone(objects), i, i+1))) > 0
				if want := !slices.Contains(unneeded[name], policy.Name); needed != want {
					t.Errorf("without %s something is closed: %t, want %t", policy.Name, needed, want)
				}
			}
		})
	}
}

func closedBy(objects []manifest.Object) (seen []string) {
	for _, p := range balance.New(objects).Paths() {
		for _, f := range p.Findings {
			if f.Name == "network-policy" {
				seen = append(seen, f.Seen)
			}
		}
	}
	return seen
}

// A client that asks the API server, or istiod, needs a way to it: by no pod of its own
// namespace, at a port that some implementation sees.
func TestNeeds(t *testing.T) {
	const deny = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 9000}, {port: 53, protocol: UDP}]}"
	for _, tt := range []struct{ name, target, egress, seen string }{
		{"no way to the API server", "k8s:///cart:9000", "", "no rule of egress lets Deployment/web call the API server at port 443 or 6443"},
		{"the port behind the Service", "k8s:///cart:9000", "{ports: [{port: 6443}]}", ""},
		{"the port of the Service", "k8s:///cart:9000", "{ports: [{port: 443}]}", ""},
		{"a range of ports", "k8s:///cart:9000", "{ports: [{port: 400, endPort: 500}]}", ""},
		{"the port by UDP", "k8s:///cart:9000", "{ports: [{port: 443, protocol: UDP}]}", "no rule of egress lets Deployment/web call the API server"},
		{"the API server's address", "k8s:///cart:9000", "{to: [{ipBlock: {cidr: 10.0.0.1/32}}], ports: [{port: 6443}]}", ""},
		{"pods of the namespace", "k8s:///cart:9000", "{to: [{podSelector: {}}], ports: [{port: 6443}]}", "no rule of egress lets Deployment/web call the API server"},
		{"a client of DNS needs no API server", "dns:///cart:9000", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			egress := ""
			if tt.egress != "" {
				egress = ", " + tt.egress
			}
			policy := "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: " + deny + egress + "]}\n"
			checkClosed(t, edit(headlessScene, `"TARGET"`, `"`+tt.target+`", `+roundRobin)+policy, tt.seen)
		})
	}
}
