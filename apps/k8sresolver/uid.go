package k8sresolver

import "github.com/google/uuid"

// packUID returns the 16 bytes of a UUID in its canonical text (RFC 9562), and false
// for anything else, such as the uids that are made up in tests.
func packUID(uid string) (string, bool) {
	id, err := uuid.Parse(uid)
	if err != nil || id.String() != uid {
		return "", false // upper case, or one of the other forms that Parse takes
	}
	return string(id[:]), true
}

// unpackUID returns the text of what packUID returned.
func unpackUID(packed string) string { return uuid.UUID([]byte(packed)).String() }
