// Package image makes the container images of the lab as docker-save archives,
// without a network: the two programs of this repository with ko and the
// release's settings, and the programs of the built-in cluster on an empty base.
// Images of others come from archives that the user gives, or from a registry.
package image
