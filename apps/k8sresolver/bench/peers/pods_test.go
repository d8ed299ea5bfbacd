package main

import (
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Tests that pods have one port, an address each, and their conditions in the slice.
func TestPods(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8, which Linux has")
	}
	p := &pods{}
	t.Cleanup(p.stop)
	if err := p.start(3); err != nil {
		t.Fatal(err)
	}
	p.all[1].conditions = starting
	p.all = p.all[1:]
	es := p.slice()
	got := make(map[string]discoveryv1.EndpointConditions)
	for _, e := range es.Endpoints {
		got[e.Addresses[0]] = e.Conditions
	}
	want := map[string]discoveryv1.EndpointConditions{"127.0.0.2": starting, "127.0.0.3": ready}
	if diff := cmp.Diff(want, got); diff != "" || p.port == 0 || int(*es.Ports[0].Port) != p.port {
		t.Errorf("slice() has port %d and (-want +got):\n%s\nwant port %d", *es.Ports[0].Port, diff, p.port)
	}
}
