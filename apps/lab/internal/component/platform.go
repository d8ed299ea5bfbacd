package component

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
)

// Platform is what a program runs on, in the words of Go and of container images.
type Platform struct{ OS, Arch string }

// Here returns the platform of this machine.
func Here() Platform { return Platform{runtime.GOOS, runtime.GOARCH} }

// String returns OS/ARCH.
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// suffix is how the file of a program is called beyond its name.
func (p Platform) suffix() string {
	if p.OS == "windows" {
		return ".exe"
	}
	return ""
}

// ParsePlatform reads OS/ARCH.
func ParsePlatform(text string) (Platform, error) {
	os, arch, ok := strings.Cut(text, "/")
	if !ok || os == "" || arch == "" || strings.Contains(arch, "/") {
		return Platform{}, fmt.Errorf("component: platform %q: expected OS/ARCH, such as linux/arm64", text)
	}
	return Platform{os, arch}, nil
}

// platform returns what the component is built for.
func (b Builder) platform(c Component) Platform {
	host := cmp.Or(b.Host, Here())
	if c.Host {
		return host
	}
	return Platform{"linux", cmp.Or(b.NodeArch, host.Arch)}
}

// Runs tells whether the component's programs run on this machine.
func (b Builder) Runs(c Component) bool { return b.platform(c) == Here() }
