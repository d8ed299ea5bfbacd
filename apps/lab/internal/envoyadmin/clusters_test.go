package envoyadmin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/envoyadmin"
)

// clusters is the shape of Envoy's /clusters?format=json, as pilot-agent prints
// it: after a line of its own log.
const clusters = `2026-11-23T21:28:33Z	warn	OS CA Cert could not be found for agent
{"cluster_statuses":[
 {"name":"outbound|8080||echo-server.grpc-lb-istio.svc.cluster.local","host_statuses":[
  {"address":{"socket_address":{"address":"10.244.1.3","port_value":8080}},"stats":[{"name":"cx_total","value":"1"},{"name":"rq_total","value":"334"}]},
  {"address":{"socket_address":{"address":"10.244.2.5","port_value":8080}},"stats":[{"name":"rq_total","value":"666"},{"name":"rq_error","value":"6"}]}]},
 {"name":"inbound|8080||","host_statuses":[{"address":{"socket_address":{"address":"10.244.1.9"}},"stats":[{"name":"rq_total","value":"5"}]}]},
 {"name":"outbound|8080||echo-server.grpc-lb-l4.svc.cluster.local","host_statuses":[
  {"address":{"socket_address":{"address":"10.244.1.7"}},"stats":[{"name":"rq_total","value":"7"}]}]},
 {"name":"xds-grpc"}]}`

func ofServer(cluster string) bool { return envoyadmin.Outbound(cluster, "echo-server.grpc-lb-istio.") }

// Requests are read by address, of the clusters of one host alone.
func TestRequests(t *testing.T) {
	got, err := envoyadmin.Count([]byte(clusters), envoyadmin.Requests, ofServer)
	if diff := cmp.Diff(map[string]int64{"10.244.1.3": 334, "10.244.2.5": 666}, got); diff != "" || err != nil {
		t.Errorf("error %v, requests by address (-want +got):\n%s", err, diff)
	}
	for name, raw := range map[string]string{
		"nothing": "", "no_json": "no clusters", "cut_off": clusters[:200], "another_host": `{"cluster_statuses":[{"name":"xds-grpc"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := envoyadmin.Count([]byte(raw), envoyadmin.Requests, ofServer); err == nil {
				t.Errorf("read %v, want an error", got)
			}
		})
	}
}
