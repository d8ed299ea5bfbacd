// Package manifest finds the repository's overlays, renders them as kubectl does
// (kustomize 5.5.0 to 5.8.2) and decodes the result. It judges nothing: package
// check has the rules.
//
// An overlay is a directory in overlays/. Its name is part of its namespace and
// of its Argo CD Application. A variant is an overlay with components of base
// added; it exists in memory only.
//
// A Rendering's View is the part of an overlay that tells its strategy.
package manifest

//go:generate go test . -run Golden|Applications -update
