package echo

import "runtime/debug"

// version is set by the release: -ldflags "-X <this package>.version=v1.2.3".
var version string

// Version returns the release's version; else the one that the go command
// recorded, which is that of a module or of a commit; else "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
