package manifest

import "fmt"

// strategies says how an overlay is recognised as one that follows a strategy.
// Each view is recognised by at most one.
var strategies = []struct {
	name       string
	recognises func(View) bool
}{
	{"l4", func(v View) bool { return v.Dials(v.Server) && !v.Balances() && v.MaxConnectionAge == "" }},
	{"l4-max-age", func(v View) bool { return v.Dials(v.Server) && !v.Balances() && v.MaxConnectionAge != "" }},
	{"dns", func(v View) bool { return v.Dials(v.Server) && v.Balances() && v.MaxConnectionAge == "" }},
	{"dns-max-age", func(v View) bool { return v.Dials(v.Server) && v.Balances() && v.MaxConnectionAge != "" }},
	{"k8s-api", func(v View) bool { return v.Target.Scheme == "k8s" }},
	{"linkerd", func(v View) bool { return v.Target.Scheme == "passthrough" }},
	{"envoy", func(v View) bool { return v.Dials("envoy") }},
	{"istio", func(v View) bool { return v.ByName() && v.Injected }},
	{"xds", func(v View) bool { return v.Target.Scheme == "xds" }},
}

// Strategy returns the name of the strategy, or "".
func (v View) Strategy() string {
	for _, s := range strategies {
		if s.recognises(v) {
			return s.name
		}
	}
	return ""
}

// Strategy returns the name of the strategy that an overlay or a variant
// follows, whatever its own name is.
func (r *Repository) Strategy(name string) (string, error) {
	v, err := r.View(name)
	if err != nil {
		return "", err
	}
	if s := v.Strategy(); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s follows no strategy: its client's target leads neither to its server nor to a proxy: `lab check %[1]s` names what is wrong", name)
}
