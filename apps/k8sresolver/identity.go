package k8sresolver

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"

	"k8s.io/client-go/rest"
)

// identityOf returns a function that says whom the API server takes the client for:
// the subject of its token, such as system:serviceaccount:shop:client. It is empty
// for other credentials, and when the token cannot be read.
func identityOf(cfg *rest.Config) func() string {
	token, file := cfg.BearerToken, cfg.BearerTokenFile
	return func() string {
		if file != "" { // it wins, and is rotated
			if content, err := os.ReadFile(file); err == nil {
				return subject(strings.TrimSpace(string(content)))
			}
		}
		return subject(token)
	}
}

// subject returns the claim "sub" of a JSON Web Token (RFC 7519) without a check of
// its signature: it goes into error texts, nothing is decided by it.
func subject(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Subject
}
