// Package argocd puts Argo CD onto a cluster of the lab, offline: its own
// install manifests with images made here, and beside it a git repository with
// a copy of the checkout. It then applies what argocd/ of that copy holds, as a
// user would, and judges what Argo CD does with it.
//
//	install.go   what runs on the cluster
//	images.go    what it is made of
//	source.go    the copy of the checkout and its commits
//	apps.go      what Argo CD says of its Applications
//	claims.go    a sentence, its limit, and the function that tries it
//	try_*.go     those functions: syncs, changes, a rollback, and what must not happen
//	look.go      how a person reaches it
package argocd
