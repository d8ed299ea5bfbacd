// Package sudo lets a user and root share a checkout and a cache: it says how to run
// the lab with sudo, and gives the user what root made in the user's directories.
package sudo
