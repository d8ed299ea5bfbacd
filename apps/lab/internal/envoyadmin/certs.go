package envoyadmin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Identities reads an answer of /certs: the URIs in the certificates by which a proxy proves
// who it is, each once. Istio's agent logs before it answers, which is skipped.
// Source: Envoy's API reference, envoy.admin.v3.Certificates.
func Identities(raw []byte) ([]string, error) {
	begin := bytes.IndexByte(raw, '{')
	if begin < 0 {
		return nil, fmt.Errorf("%.200q is no JSON", raw)
	}
	var answer struct {
		Certificates []struct {
			Chain []struct {
				Names []struct {
					URI string `json:"uri"`
				} `json:"subject_alt_names"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(raw[begin:], &answer); err != nil {
		return nil, fmt.Errorf("reading its certificates: %w", err)
	}
	var all []string
	for _, c := range answer.Certificates {
		for _, cert := range c.Chain {
			for _, n := range cert.Names {
				if n.URI != "" && !slices.Contains(all, n.URI) {
					all = append(all, n.URI)
				}
			}
		}
	}
	return all, nil
}
