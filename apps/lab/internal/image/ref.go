package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// hub is Docker Hub as containerd and the kubelet call it. The library calls it
// by its older name, name.DefaultRegistry.
const hub = "docker.io"

// Name returns what a node knows the image of a manifest by:
// docker.io/buoyantio/linkerd:1.7.5 for buoyantio/linkerd:1.7.5. References to
// one image have one name.
func Name(ref string) (string, error) {
	parsed, err := parseRef(ref)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	return nodeName(parsed), nil
}

func nodeName(ref name.Reference) string {
	if rest, ok := strings.CutPrefix(ref.Name(), name.DefaultRegistry+"/"); ok {
		return hub + "/" + rest
	}
	return ref.Name()
}

// parseRef takes no reference without a tag: "latest" is seldom what is meant.
func parseRef(ref string) (name.Reference, error) {
	parsed, err := name.ParseReference(ref, name.WithDefaultTag(""))
	if err == nil && parsed.Identifier() == "" {
		err = errors.New("it has neither")
	}
	if err != nil {
		return nil, fmt.Errorf("reference %q: want a name with a tag or a digest, such as docker.io/buoyantio/linkerd:1.7.5: %w", ref, err)
	}
	return parsed, nil
}
