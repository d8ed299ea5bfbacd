package fault

// Rules are the commands for nft.
var Rules = rules
