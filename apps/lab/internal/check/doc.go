// Package check judges the manifests of a checkout: the kustomizations, the objects
// that they render, and Argo CD's files. Rules lists everything that it wants.
package check
