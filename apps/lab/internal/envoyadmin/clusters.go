// Package envoyadmin reads answers of Envoy's admin interface.
package envoyadmin

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Statistics of a host of Envoy.
const (
	Requests = "rq_total" // with retries, and those that are not complete
	Errors   = "rq_error" // of HTTP, and of gRPC as far as Envoy counts a code as an error
)

// Count reads an answer of /clusters?format=json: a statistic of each address of the
// clusters whose names match. Istio's agent logs before
// it answers, which is skipped. It is an error if no cluster matches.
// Source: Envoy's API reference, envoy.admin.v3.Clusters.
func Count(raw []byte, statistic string, match func(cluster string) bool) (map[string]int64, error) {
	begin := bytes.IndexByte(raw, '{')
	if begin < 0 {
		return nil, fmt.Errorf("%.200q is no JSON", raw)
	}
	var answer struct {
		Clusters []struct {
			Name  string `json:"name"`
			Hosts []struct {
				Address struct {
					Socket struct {
						Address string `json:"address"`
					} `json:"socket_address"`
				} `json:"address"`
				Stats []struct {
					Name  string `json:"name"`
					Value int64  `json:"value,string"`
				} `json:"stats"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.Unmarshal(raw[begin:], &answer); err != nil {
		return nil, fmt.Errorf("reading its clusters: %w", err)
	}
	sent, found := map[string]int64{}, false
	for _, c := range answer.Clusters {
		if !match(c.Name) {
			continue
		}
		found = true
		for _, h := range c.Hosts {
			for _, s := range h.Stats {
				if s.Name == statistic {
					sent[h.Address.Socket.Address] += s.Value
				}
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("none of its %d clusters sends to the servers", len(answer.Clusters))
	}
	return sent, nil
}

// Outbound says whether a cluster's name is Istio's for the host that begins so, such as
// "outbound|8080||echo-server.shop.svc.cluster.local".
func Outbound(cluster, host string) bool {
	rest, ok := bytes.CutPrefix([]byte(cluster), []byte("outbound|"))
	return ok && bytes.HasPrefix(rest[bytes.LastIndexByte(rest, '|')+1:], []byte(host))
}
