// Package manifest finds the repository's overlays, renders them as kubectl
// does, from kustomize 5.5.0 to 5.8.2, and judges them by Rules: which
// namespace, which permissions, which ports, and whether Argo CD's files tell
// the same story.
//
// An overlay is a directory in overlays/. Its name is part of its namespace and
// of its Argo CD Application; nothing in this package lists the names. A
// variant is an overlay with components of base added, and in memory only.
package manifest
