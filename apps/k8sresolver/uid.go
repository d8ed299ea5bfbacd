package k8sresolver

import (
	"encoding/hex"
	"strings"
)

// uidForm is the usual text of a UUID (RFC 9562).
const uidForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"

// packUID returns the 16 bytes of a UUID, and false for anything else, such as the
// uids that are made up in tests.
func packUID(uid string) (string, bool) {
	if len(uid) != len(uidForm) {
		return "", false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(uid, "-", ""))
	if err != nil || len(raw) != 16 || unpackUID(string(raw)) != uid {
		return "", false // upper case, or dashes elsewhere
	}
	return string(raw), true
}

// unpackUID returns the text of what packUID returned.
func unpackUID(packed string) string {
	text := []byte(uidForm)
	to := 0
	for i := range len(packed) {
		if text[to] == '-' {
			to++
		}
		hex.Encode(text[to:], []byte{packed[i]})
		to += 2
	}
	return string(text)
}
