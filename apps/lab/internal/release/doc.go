// Package release reads and sets what names a release of this repository: the
// registry, the tag and the digests of its images, in one component of base, and
// the repository that Argo CD reads. It changes values and leaves every other
// byte of a file as it is.
package release
