package coredns

// Parse is parseCorefile.
var Parse = parseCorefile
