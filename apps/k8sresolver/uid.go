package k8sresolver

import (
	"strings"

	"github.com/google/uuid"
)

const canonicalUID = 36 // characters

// packUID returns the 16 bytes of a UUID in its canonical text (RFC 9562), and false
// for anything else, such as the uids that are made up in tests.
func packUID(uid string) (string, bool) {
	id, err := uuid.Parse(uid)
	if err != nil || len(uid) != canonicalUID || strings.ContainsAny(uid, "ABCDEF") {
		return "", false // one of the other forms that Parse takes
	}
	return string(id[:]), true
}

// unpackUID returns the text of what packUID returned.
func unpackUID(packed string) string { return uuid.UUID([]byte(packed)).String() }
