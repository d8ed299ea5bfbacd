// Package become puts another program in place of this one. It imports the standard
// library alone.
package become
