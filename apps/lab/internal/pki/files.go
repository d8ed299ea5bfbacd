package pki

import (
	"bytes"
	"encoding/base64"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Files are what a pod reads, in PEM: its certificate, the key of that, and the authorities
// that it trusts. A Secret has them under the names that cert-manager gives.
type Files struct{ Cert, Key, Roots []byte }

// The names of the files in a Secret.
const (
	CertFile  = corev1.TLSCertKey
	KeyFile   = corev1.TLSPrivateKeyKey
	RootsFile = "ca.crt"
)

// Files returns the certificate's, for a pod that trusts the authorities.
func (c *Certificate) Files(trusted ...*Authority) (f Files, err error) {
	f.Cert = c.CertPEM()
	if f.Key, err = c.KeyPEM(); err != nil {
		return Files{}, err
	}
	var all [][]byte
	for _, a := range trusted {
		all = append(all, a.PEM())
	}
	f.Roots = bytes.Join(all, nil)
	return f, nil
}

// Secret returns the Secret that holds the files.
func (f Files) Secret(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": string(corev1.SecretTypeTLS),
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"data": map[string]any{
			CertFile:  base64.StdEncoding.EncodeToString(f.Cert),
			KeyFile:   base64.StdEncoding.EncodeToString(f.Key),
			RootsFile: base64.StdEncoding.EncodeToString(f.Roots),
		},
	}}
}
