package balance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
)

// Policy is a client's load-balancing policy.
type Policy struct {
	// Name is the name in gRPC's registry, or "" if the manifests show none.
	Name string
	// From says where the name stands.
	From string
	// Visible says that the program has no other policy than the manifests show.
	// Without it a policy in the program's code can replace gRPC's default.
	Visible bool
	// ByControlPlane says that xDS sends the policy to the client.
	ByControlPlane bool
}

// PickFirst is gRPC's default policy: it sends all calls to one address.
const PickFirst = "pick_first"

// ofGRPC are policies of gRPC beside those that our client offers.
var ofGRPC = []string{
	"ring_hash_experimental", "random_subsetting_experimental", "weighted_target_experimental", "priority_experimental",
	"outlier_detection_experimental", "rls_experimental", "grpclb",
}

func knownPolicies() []string {
	known := append(policy.Names(), ofGRPC...)
	slices.Sort(known)
	return slices.Compact(known)
}

// UsesAll says whether the policy uses all addresses of the target.
func (p Policy) UsesAll() bool { return p.Name != "" && p.Name != PickFirst }

// Undecided says that the policy can be another than gRPC's default.
func (p Policy) Undecided() bool { return p.Name == "" && !p.Visible }

// misspelt returns the policy of gRPC that a name means which differs from it in
// hyphens, underscores, capitals or a missing "_experimental". It is "" for a name of
// gRPC, and for any other: a program can register policies of its own.
func (p Policy) misspelt() string {
	plain := func(s string) string {
		return strings.TrimSuffix(strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)), "experimental")
	}
	if p.Name == "" || slices.Contains(knownPolicies(), p.Name) {
		return ""
	}
	if i := slices.IndexFunc(knownPolicies(), func(known string) bool { return plain(known) == plain(p.Name) }); i >= 0 {
		return knownPolicies()[i]
	}
	return ""
}

func (p Policy) String() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.ByControlPlane:
		return "the control plane's"
	case p.Visible:
		return PickFirst + ", which is gRPC's default"
	}
	return "unknown"
}

// configured returns the policy that a service config selects. The config is JSON, alone or
// inside a longer text, such as a file or a shell's command. It is "" if the config selects
// none.
// Source: gRPC's service_config.proto; gRFC A24 (loadBalancingConfig).
func configured(text string) (string, error) {
	type config struct {
		LoadBalancingPolicy string                       `json:"loadBalancingPolicy"`
		LoadBalancingConfig []map[string]json.RawMessage `json:"loadBalancingConfig"`
	}
	var err error
	for _, text := range []string{text, strings.ReplaceAll(text, `\"`, `"`)} {
		before, _, _ := strings.Cut(text, "loadBalancing")
		for i := strings.LastIndexByte(before, '{'); i >= 0; i = strings.LastIndexByte(text[:i], '{') {
			var c config
			if err = json.NewDecoder(strings.NewReader(text[i:])).Decode(&c); err != nil || c.LoadBalancingConfig == nil && c.LoadBalancingPolicy == "" {
				continue
			}
			if len(c.LoadBalancingConfig) > 0 {
				return firstKnown(c.LoadBalancingConfig)
			}
			// An unknown name in this older field means gRPC's default.
			if name := strings.ToLower(c.LoadBalancingPolicy); slices.Contains(knownPolicies(), name) {
				return name, nil
			}
			return "", nil
		}
	}
	return "", fmt.Errorf("service config %q is not the JSON that gRPC expects: %w", text, err)
}

// firstKnown returns the first policy of a list that gRPC knows. A policy that wraps
// another spreads calls as its child does.
func firstKnown(list []map[string]json.RawMessage) (string, error) {
	var names []string
	for _, entry := range list {
		if len(entry) != 1 {
			return "", fmt.Errorf("an entry of loadBalancingConfig has %d policies, and gRPC refuses it: expected 1", len(entry))
		}
		for name, raw := range entry {
			names = append(names, name)
			if !slices.Contains(knownPolicies(), name) {
				continue
			}
			var wrapper struct {
				ChildPolicy []map[string]json.RawMessage `json:"childPolicy"`
			}
			if err := json.Unmarshal(raw, &wrapper); err == nil && len(wrapper.ChildPolicy) > 0 {
				return firstKnown(wrapper.ChildPolicy)
			}
			return name, nil
		}
	}
	return "", fmt.Errorf("gRPC knows none of the policies %s, expected one of %s", strings.Join(names, ", "), strings.Join(knownPolicies(), ", "))
}
