package envoyadmin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/envoyadmin"
)

// The identities are those of the proxy's own certificates, not of the authorities that it
// trusts; what is no answer is an error.
func TestIdentities(t *testing.T) {
	const answer = `2026-11-28T10:00:00Z info of the agent
{"certificates": [{
  "ca_cert": [{"path": "<inline>", "subject_alt_names": [{"uri": "spiffe://cluster.local/ca"}]}],
  "cert_chain": [
   {"serial_number": "1", "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/a/sa/b"}]},
   {"serial_number": "2", "subject_alt_names": [{"dns": "b.a"}, {"uri": "spiffe://cluster.local/ns/a/sa/b"}]}]},
 {"cert_chain": []}]}`
	for _, test := range []struct {
		name, raw string
		want      []string
		fails     bool
	}{
		{name: "identities", raw: answer, want: []string{"spiffe://cluster.local/ns/a/sa/b"}},
		{name: "none", raw: `{"certificates": []}`},
		{name: "no_answer", raw: "upstream connect error", fails: true},
		{name: "half_an_answer", raw: answer[:len(answer)/2], fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := envoyadmin.Identities([]byte(test.raw))
			if (err != nil) != test.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("identities (-want +got):\n%s", diff)
			}
		})
	}
}
