package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// stallTime is how long a registry may send nothing.
const stallTime = 30 * time.Second

var errStalled = fmt.Errorf("the registry has sent nothing for %s", stallTime)

// Registry has built components: each is an image with one layer.
type Registry struct {
	at        name.Repository
	transport http.RoundTripper
	// silent says that it did not answer, so that it is not asked again.
	silent atomic.Bool
}

// ParseRegistry reads HOST/PATH.
func ParseRegistry(text string) (*Registry, error) {
	parsed, err := image.ParseRegistry(text)
	if err != nil {
		return nil, err
	}
	at, err := name.NewRepository(parsed.String())
	return &Registry{at: at, transport: remote.DefaultTransport}, err
}

// String returns HOST/PATH.
func (r *Registry) String() string { return r.at.Name() }

func (r *Registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(r.transport)}
}

// fetch puts the files of a component into the directory out, from the image of that
// digest and no other.
func (r *Registry) fetch(ctx context.Context, c Component, digest, out string, detail func(string)) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallTime, func() { cancel(errStalled) })
	defer stalled.Stop()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			r.judge(err)
			err = errors.New(strings.Join(strings.Fields(err.Error()), " ")) // registries answer with whole pages
		}
	}()
	img, err := remote.Image(r.at.Digest(digest), r.options(ctx)...)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != 1 {
		return fmt.Errorf("it has %d layers, expected 1", len(layers))
	}
	size, err := layers[0].Size()
	if err != nil {
		return err
	}
	compressed, err := layers[0].Compressed() // which verifies digest and size
	if err != nil {
		return err
	}
	defer compressed.Close()
	return c.unpack(&watched{from: compressed, read: func(all int64) {
		stalled.Reset(stallTime)
		detail(fmt.Sprintf("%.1f of %.1f MB", float64(all)/1e6, float64(size)/1e6))
	}}, out)
}

// judge notes a registry that another try would not bring to answer.
func (r *Registry) judge(err error) {
	answer, answered := errors.AsType[*transport.Error](err)
	_, unanswered := errors.AsType[*url.Error](err)
	if answered && answer.StatusCode != http.StatusNotFound || unanswered || errors.Is(err, errStalled) {
		r.silent.Store(true)
	}
}

// watched tells how much was read.
type watched struct {
	from io.Reader
	all  int64
	read func(all int64)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if w.all += int64(n); n > 0 {
		w.read(w.all)
	}
	return n, err
}

// has tells whether the registry has a component of that key.
func (r *Registry) has(ctx context.Context, p Published) (bool, error) {
	_, err := remote.Head(r.tag(p), r.options(ctx)...)
	// Some registries forbid what they do not have.
	if answer, ok := errors.AsType[*transport.Error](err); ok && slices.Contains([]int{http.StatusNotFound, http.StatusForbidden}, answer.StatusCode) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("component: looking for %s: %w", r.tag(p), err)
	}
	return true, nil
}

// tag is for people, and for [Builder.Publish] to see what is there.
func (r *Registry) tag(p Published) name.Tag {
	return r.at.Tag(strings.Join([]string{p.Component, p.Key, strings.ReplaceAll(p.Platform, "/", "-")}, "-"))
}

// push puts the files of a component's directory into the registry, unless it has
// them, and returns the digest.
func (r *Registry) push(ctx context.Context, c Component, p Published, dir string) (string, error) {
	packed, err := os.CreateTemp("", c.Name+"-*.tar.gz")
	if err != nil {
		return "", err
	}
	defer os.Remove(packed.Name())
	if err := errors.Join(c.pack(dir, packed), packed.Close()); err != nil {
		return "", err
	}
	img, err := imageOf(packed.Name(), p.Platform)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	if err := remote.Write(r.tag(p), img, r.options(ctx)...); err != nil {
		return "", fmt.Errorf("component: pushing %s: %w", r.tag(p), err)
	}
	return digest.String(), nil
}

// imageOf returns an image whose one layer is a packed component.
func imageOf(packed, platform string) (v1.Image, error) {
	layer, err := tarball.LayerFromFile(packed, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	on, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = on.OS, on.Architecture
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layer)
}
