package balance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// A NetworkPolicy closes the servers, or the client, if none of its rules admits the
// other at the port. What cannot be decided is admitted.
func TestNetworkPolicies(t *testing.T) {
	const (
		ofServer = "podSelector: {matchLabels: {app: cart}}"
		ofClient = "podSelector: {matchLabels: {app: web}}"
		web      = "podSelector: {matchLabels: {app: web}}"
	)
	for _, tt := range []struct{ name, spec, seen string }{
		{"nothing is admitted", ofServer, "no rule of ingress admits Deployment/web at port 9000"},
		{"of other pods", "podSelector: {matchLabels: {app: till}}", ""},
		{"all is admitted", ofServer + ", ingress: [{}]", ""},
		{"the client, at a port by name", ofServer + ", ingress: [{from: [{" + web + "}], ports: [{port: rpc}]}]", ""},
		{"the client, at another port", ofServer + ", ingress: [{from: [{" + web + "}], ports: [{port: 9001}]}]", "no rule of ingress"},
		{"the client, at a range of ports", ofServer + ", ingress: [{from: [{" + web + "}], ports: [{port: 8000, endPort: 9000}]}]", ""},
		{"the port, by UDP", ofServer + ", ingress: [{ports: [{port: 9000, protocol: UDP}]}]", "no rule of ingress"},
		{"other clients", ofServer + ", ingress: [{from: [{podSelector: {matchLabels: {app: till}}}]}]", "no rule of ingress"},
		{"a block of addresses", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]", ""},
		{"the client's namespace by its name", ofServer + ", ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]}]", ""},
		{"public addresses", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]", "no rule of ingress admits Deployment/web at port 9000 of StatefulSet/cart: its rule for the port admits 203.0.113.0/24 alone"},
		{"all addresses but the private ones", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}}]}]", "no rule of ingress"},
		{"all addresses but some private ones", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 169.254.169.254/32]}}]}]", ""},
		{"a private network but its half", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9]}}]}]", ""},
		{"a block of IPv6 but the local one", ofServer + ", ingress: [{from: [{ipBlock: {cidr: '::/0', except: ['fc00::/7']}}]}]", "no rule of ingress"},
		{"a block of IPv6", ofServer + ", ingress: [{from: [{ipBlock: {cidr: 2001:db8::/32}}]}]", ""},
		{"the namespace or the pods", ofServer + ", ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: web}}}]}]", ""},
		{"expressions", ofServer + ", ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, till]}]}}]}]", ""},
		{"expressions that leave the client out", ofServer + ", ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}]}]", "no rule of ingress admits Deployment/web at port 9000 of StatefulSet/cart: its rule for the port admits pods with app notin (web) of its own namespace alone"},
		{"the port of the Service", ofServer + ", ingress: [{from: [{" + web + "}], ports: [{port: 80}]}]", "no rule of ingress admits Deployment/web at port 9000 of StatefulSet/cart: its rule for these pods admits port 80 alone, and a policy sees the port of the pods"},
		{"policyTypes that leave the rule out", "podSelector: {}, policyTypes: [Ingress]}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: q, namespace: shop}\nspec: {" + ofServer + ", policyTypes: [Egress], egress: [{}], ingress: [{}]", "no rule of ingress admits Deployment/web at port 9000 of StatefulSet/cart: its policyTypes, [Egress], leave its rule of ingress out"},
		{"a pod of a StatefulSet", "podSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: cart-0}}", "no rule of ingress"},
		{"policies of another API too", ofServer + "}\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, namespace: shop}\nspec: {a: b", ""},
		{"another namespace", ofServer + ", ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, " + web + "}]}]", "no rule of ingress"},
		{"egress alone of the servers", ofServer + ", policyTypes: [Egress]", ""},
		{"no egress of the client", ofClient + ", policyTypes: [Egress]", "no rule of egress lets Deployment/web call port 9000 of StatefulSet/cart; no rule of egress lets Deployment/web ask DNS at port 53"},
		{"egress of the client to the servers", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 9000}]}]", "no rule of egress lets Deployment/web ask DNS"},
		{"egress of the client to the servers and DNS", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 9000}]}, {ports: [{port: 53, protocol: UDP}]}]", ""},
		{"DNS among the pods of the client's namespace", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}]}, {to: [{podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}]", "no rule of egress lets Deployment/web ask DNS at port 53 of UDP: its rule for the port admits pods with k8s-app=kube-dns of its own namespace alone"},
		{"DNS by TCP, which is the default", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}]}, {ports: [{port: 53}]}]", "no rule of egress lets Deployment/web ask DNS at port 53 of UDP: its rule for the port has another protocol, and without one it is TCP"},
		{"DNS in its namespace", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}]}, {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}]", ""},
		{"DNS in another namespace", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}]}, {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}], ports: [{port: 53, protocol: UDP}]}]", "no rule of egress lets Deployment/web ask DNS"},
		{"DNS at an address of the node", ofClient + ", egress: [{to: [{podSelector: {matchLabels: {app: cart}}}]}, {to: [{ipBlock: {cidr: 169.254.20.10/32}}], ports: [{port: 53, protocol: UDP}]}]", ""},
		{"egress of the client to DNS alone", ofClient + ", egress: [{ports: [{port: 53, protocol: UDP}]}]", "no rule of egress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			policy := "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: {" + tt.spec + "}\n"
			checkClosed(t, edit(headlessScene, `"TARGET"`, `"dns:///cart:9000", `+roundRobin)+policy, tt.seen)
		})
	}
}

// checkClosed wants what policies close, all of it: the text of each finding begins with one
// of those that want holds between semicolons.
func checkClosed(t *testing.T, scene, want string) {
	t.Helper()
	found := paths(t, scene)
	var seen []string
	for _, f := range found[0].Findings {
		if !f.Advice {
			seen = append(seen, f.Name+": "+f.Seen)
		}
	}
	wanted := strings.Split(want, "; ")
	if want == "" {
		wanted = nil
	}
	equal := slices.EqualFunc(seen, wanted, func(s, w string) bool { return strings.HasPrefix(s, "network-policy: "+w) })
	if found[0].Verdict != balance.Balanced || !equal {
		t.Errorf("verdict %s, findings %q: want balanced, since not every cluster enforces policies, and %q", found[0].Verdict, seen, wanted)
	}
}

// What holds for pods of the node's network is not defined.
func TestNetworkPoliciesOfNodes(t *testing.T) {
	const policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n"
	checkClosed(t, edit(headlessScene, `"TARGET"`, `"dns:///cart:9000", `+roundRobin)+policy, "no rule of ingress")
	checkClosed(t, edit(headlessScene, `"TARGET"`, `"dns:///cart:9000", `+roundRobin, "      containers:\n        - {name: cart", "      hostNetwork: true\n      containers:\n        - {name: cart")+policy, "")
}

// A policy that the API server refuses is found, whomever it is about.
func TestNetworkPoliciesRefused(t *testing.T) {
	for _, tt := range []struct{ spec, seen string }{
		{"podSelector: {}, policyTypes: [Engress]", `policyTypes has "Engress", expected Ingress or Egress`},
		{"podSelector: {matchExpressions: [{key: app, operator: In}]}", "values"},
		{"podSelector: {}, ingress: [{ports: [{port: '9000'}]}]", `port "9000" is a text, expected a number, or the name of a port`},
		{"podSelector: {}, ingress: [{ports: [{port: 0}]}]", "port 0, expected a number from 1 to 65535"},
		{"podSelector: {}, ingress: [{ports: [{port: rpc, endPort: 9000}]}]", `endPort 9000 is with port "rpc", expected a number as port`},
		{"podSelector: {}, ingress: [{ports: [{endPort: 9000}]}]", "endPort 9000 has no port"},
		{"podSelector: {}, ingress: [{ports: [{port: 9001, endPort: 9000}]}]", "endPort 9000 is below port 9001"},
		{"podSelector: {}, ingress: [{from: [{}]}]", "a peer is empty, expected podSelector, namespaceSelector or ipBlock"},
		{"podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]", "a peer has ipBlock 10.0.0.0/8 and a selector, expected two peers"},
		{"podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]", `cidr "10.0.0.1" is no block of addresses`},
		{"podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}}]}]", "except 192.168.0.0/16 is not within cidr 10.0.0.0/8"},
		{"podSelector: {}, ingress: [{from: [{ipBlock: {cidr: '::/0', except: ['fd00::/8']}}], ports: [{port: rpc}, {port: 1, endPort: 2}]}]", ""},
	} {
		objects, err := manifest.Decode([]byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {" + tt.spec + "}\n"))
		if err != nil {
			t.Fatal(err)
		}
		found := balance.Foreign(objects).ServiceFindings()
		if tt.seen == "" && len(found) > 0 || tt.seen != "" && (len(found) != 1 || !strings.HasPrefix(found[0].Seen, "the API server refuses it: ") || !strings.Contains(found[0].Seen, tt.seen)) {
			t.Errorf("%s: found %+v, want %q", tt.spec, found, tt.seen)
		}
	}
}

// Two policies of the same pods admit what either admits.
func TestNetworkPoliciesAdd(t *testing.T) {
	const policies = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: rpc}]}]}
`
	for _, f := range paths(t, edit(headlessScene, `"TARGET"`, `"dns:///cart:9000", `+roundRobin)+policies)[0].Findings {
		if f.Name == "network-policy" {
			t.Errorf("finding %q, want none", f.Seen)
		}
	}
}

// What new pods wait for follows from who learns of them, and how.
func TestNewPods(t *testing.T) {
	for _, tt := range []struct {
		name, scene, target string
		edits               []string
		want                string
		noted               bool
	}{
		{"EndpointSlices", scene, `"k8s:///cart:grpc"`, nil, "at once", false},
		{"DNS", headlessScene, `"dns:///cart:9000"`, nil, "when the client resolves the name again: after it loses a connection", true},
		{"DNS, and connections end by a flag", headlessScene, `"dns:///cart:9000"`, []string{`image: "cart:1", `, `image: "cart:1", args: [--max-connection-age=30s], `}, "after the servers' MaxConnectionAge of 30s", false},
		{"DNS, and connections end by a variable", headlessScene, `"dns:///cart:9000"`, []string{`image: "cart:1", `, `image: "cart:1", env: [{name: GRPC_MAX_CONNECTION_AGE, value: 5m}], `}, "after the servers' MaxConnectionAge of 5m", false},
		{"DNS, and the age is off", headlessScene, `"dns:///cart:9000"`, []string{`image: "cart:1", `, `image: "cart:1", args: [--max-connection-age=0s, --max-connection-age-grace=5s], `}, "when the client resolves the name again: after it loses a connection", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := paths(t, edit(tt.scene, append([]string{`"TARGET"`, tt.target + ", " + roundRobin}, tt.edits...)...))
			noted := false
			for _, f := range found[0].Findings {
				noted = noted || f.Name == "dns-scale-out"
			}
			if found[0].NewPods != tt.want || noted != tt.noted {
				t.Errorf("new pods wait: %q, noted %t; want %q, %t", found[0].NewPods, noted, tt.want, tt.noted)
			}
		})
	}
}
