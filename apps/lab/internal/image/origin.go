package image

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// StandInLabel is the label of an image that is not what its name says but
// plays its part. Its value says what it is.
const StandInLabel = "dev.grpc-lb.stand-in"

// Origin says where an image that the lab did not build comes from.
type Origin struct {
	// Ref is the reference as it was asked for.
	Ref string
	// From is the file that it was given in, or the registry.
	From string
	// Digest is that of the image's configuration, which docker calls the
	// image's ID: "sha256:" and 64 digits.
	Digest string
	// Created is when the image says it was built, or zero.
	Created time.Time
	// StandIn is the value of StandInLabel; it is empty for the real thing only.
	StandIn string
}

// String returns such as
// "docker.io/buoyantio/linkerd:1.7.5 from linkerd.tar (sha256:0123456789ab…), a stand-in: TEXT".
func (o Origin) String() string {
	algorithm, digits, _ := strings.Cut(o.Digest, ":")
	text := fmt.Sprintf("%s from %s (%s:%.12s…)", o.Ref, o.From, algorithm, digits)
	if o.StandIn != "" {
		text += ", a stand-in: " + o.StandIn
	}
	return text
}

// originOf describes an image and refuses one for another platform.
func originOf(img v1.Image, ref, from string, want v1.Platform) (Origin, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return Origin{}, err
	}
	if has := (v1.Platform{OS: config.OS, Architecture: config.Architecture}); !has.Satisfies(want) {
		return Origin{}, fmt.Errorf("the image is for %s: want one for %s", cmp.Or(has.String(), "no platform"), want)
	}
	digest, err := img.ConfigName()
	if err != nil {
		return Origin{}, err
	}
	o := Origin{Ref: ref, From: from, Digest: digest.String(), Created: config.Created.Time}
	if text, labelled := config.Config.Labels[StandInLabel]; labelled {
		o.StandIn = cmp.Or(strings.Join(strings.Fields(text), " "), "it does not say of what")
	}
	return o, nil
}

// platform is that of nodes with the architecture, such as arm64.
func platform(arch string) v1.Platform { return v1.Platform{OS: "linux", Architecture: arch} }
