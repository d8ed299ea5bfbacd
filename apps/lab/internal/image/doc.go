// Package image makes the container images of the lab as docker-save archives,
// without a network: the programs of this repository with ko and the release's
// settings, and programs that the lab compiled on an empty base. Images of others
// come from archives that the user gives, or from a registry.
package image
