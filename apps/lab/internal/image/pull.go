package image

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// manifestTime is how long a registry may take to say what an image consists
// of. A machine without a network must not wait for long.
const manifestTime = 30 * time.Second

// errSlow is why a registry is given up.
var errSlow = fmt.Errorf("the registry has not answered within %s", manifestTime)

// Pull fetches an image for nodes of the architecture from its registry, with
// the credentials of `docker login` if there are any and by the proxies of the
// environment. It returns an archive for Cluster.LoadImages. One that the cache
// has of the same reference is not fetched again, even where the tag has moved.
func Pull(ctx context.Context, ref, cache, arch string, detail func(text string)) (archive string, origin Origin, err error) {
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	return pull(ctx, ref, cache, arch, detail, transport)
}

func pull(ctx context.Context, ref, cache, arch string, detail func(text string), transport http.RoundTripper) (archive string, origin Origin, err error) {
	parsed, err := parseRef(ref)
	if err != nil {
		return "", Origin{}, fmt.Errorf("image: %w", err)
	}
	registry, _, _ := strings.Cut(nodeName(parsed), "/")
	archive = archiveOf(cache, "pulled", parsed, arch, "")
	if img, err := tarball.ImageFromPath(archive, nil); err == nil {
		if origin, err := originOf(img, ref, registry, platform(arch)); err == nil {
			return archive, origin, nil
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	fail := func(err error) (string, Origin, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", Origin{}, fmt.Errorf("image: pulling %s: %w", ref, line{err})
	}
	slow := time.AfterFunc(manifestTime, func() { cancel(errSlow) })
	defer slow.Stop()
	img, err := remote.Image(parsed, remote.WithContext(ctx), remote.WithPlatform(platform(arch)),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(transport))
	if err == nil {
		origin, err = originOf(img, ref, registry, platform(arch))
	}
	if err != nil {
		return fail(err)
	}
	slow.Stop() // a large image may take longer

	shown := int64(-1)
	progress := func(done, total int64) {
		if percent := done * 100 / max(total, 1); detail != nil && percent != shown {
			shown = percent
			detail(fmt.Sprintf("pulling %s: %.1f of %.1f MB", ref, float64(done)/1e6, float64(total)/1e6))
		}
	}
	var broke error // the registry's part of what replace returns
	err = replace(archive, func(file string) error {
		broke = writeArchive(file, parsed, img, progress)
		return broke
	})
	if err != nil {
		return fail(cmp.Or(broke, err))
	}
	return archive, origin, nil
}

// line is an error in one line: registries and proxies answer with whole pages.
type line struct{ error }

// Error implements error.
func (l line) Error() string {
	text := []rune(strings.Join(strings.Fields(l.error.Error()), " "))
	if len(text) > 400 {
		text = append(text[:399], '…')
	}
	return string(text)
}

// Unwrap returns all of it.
func (l line) Unwrap() error { return l.error }
