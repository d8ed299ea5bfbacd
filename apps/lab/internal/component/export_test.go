package component

import (
	"io"
	"net/http"
)

// Unpack writes a component's files, as a fetch does.
func Unpack(c Component, stream io.Reader, out string) error { return c.unpack(stream, out) }

// Through lets a registry be asked by another transport.
func (r *Registry) Through(t http.RoundTripper) { r.transport = t }
