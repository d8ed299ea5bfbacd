package kube

// What only tests outside of the package reach for.
var Ordered = ordered
