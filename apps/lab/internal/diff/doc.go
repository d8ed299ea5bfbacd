// Package diff tells what a change of the manifests does to each rendered
// object, against a commit or against a cluster, and flags changes that can do harm.
//
// [Compare] is pure. It takes two lists of objects an overlay, from [Rendered]
// or [Live], and pairs them by kind and name: neither the order of things nor
// the hash in the name of a generated ConfigMap makes a difference.
package diff
