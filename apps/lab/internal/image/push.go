package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ErrUnreachable says that a registry gave this machine no answer at all, which
// need not be so for the nodes of a cluster.
var ErrUnreachable = errors.New("the registry does not answer this machine")

// Registry is a place for images of the lab: "ghcr.io/me/lab".
type Registry struct{ at name.Repository }

// ParseRegistry reads the value of a flag: HOST/PATH.
func ParseRegistry(flag string) (Registry, error) {
	host, path, _ := strings.Cut(flag, "/")
	at, err := name.NewRepository(flag)
	switch {
	case path == "":
		err = errors.New("it has no path")
	case strings.Contains(flag, "://"):
		err = errors.New("it is no URL")
	case err == nil && !strings.ContainsAny(host, ".:") && host != "localhost":
		err = fmt.Errorf("%q is no host", host)
	}
	if err != nil {
		return Registry{}, fmt.Errorf("image: registry %q: want HOST/PATH, such as ghcr.io/me/lab: %w", flag, err)
	}
	return Registry{at}, nil
}

// String returns HOST/PATH.
func (r Registry) String() string { return r.at.Name() }

// Ref returns the name in the registry of an image that nodes know by ref: its
// own without the host, so HOST/PATH/echo-server:1 for lab.local/echo-server:1.
func (r Registry) Ref(ref string) (string, error) {
	parsed, err := parseRef(ref)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	separator := ":"
	if _, digest := parsed.(name.Digest); digest {
		separator = "@"
	}
	return r.at.Name() + "/" + parsed.Context().RepositoryStr() + separator + parsed.Identifier(), nil
}

// CheckPush makes sure that the registry lets this user push.
func (r Registry) CheckPush(ctx context.Context) error {
	client := remote.DefaultTransport.(*http.Transport).Clone()
	client.ResponseHeaderTimeout = manifestTime
	defer client.CloseIdleConnections()
	probe := r.at.Registry.Repo(r.at.RepositoryStr(), Programs[0]).Tag("probe") // an upload that is begun and given up
	if err := remote.CheckPushPermission(probe, authn.DefaultKeychain, client); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("image: registry %s cannot be pushed to: %w: log in with `docker login %s`, or name another", r, line{err}, r.at.RegistryStr())
	}
	return nil
}

// Push puts the images of docker-save archives into the registry, with the
// credentials of `docker login` if there are any, and transfers only what the
// registry lacks. Images of one name for several architectures become one index.
func (r Registry) Push(ctx context.Context, detail func(text string), archives ...string) error {
	return r.each(ctx, archives, func(to name.Reference, images []v1.Image, options []remote.Option) error {
		detail("pushing " + to.Name())
		if err := write(to, images, options); err != nil {
			return fmt.Errorf("image: pushing %s: %w", to.Name(), line{err})
		}
		return nil
	})
}

func write(to name.Reference, images []v1.Image, options []remote.Option) error {
	if len(images) == 1 {
		return remote.Write(to, images[0], options...)
	}
	index := v1.ImageIndex(empty.Index)
	for _, img := range images {
		has, err := platformOf(img)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &has}})
	}
	return remote.WriteIndex(to, index, options...)
}

// Check makes sure that the registry has the images of docker-save archives, for
// their architectures. The error wraps ErrUnreachable where the registry did not answer, and names all
// that are missing.
func (r Registry) Check(ctx context.Context, archives ...string) error {
	var missing []string
	err := r.each(ctx, archives, func(to name.Reference, images []v1.Image, options []remote.Option) error {
		lacks, err := lacking(to, images, options)
		var answer *transport.Error
		switch {
		case err == nil:
			missing = append(missing, lacks...)
		case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
			missing = append(missing, to.Name())
		case errors.As(err, &answer):
			return fmt.Errorf("image: looking for %s: %w", to.Name(), line{err})
		default:
			return fmt.Errorf("image: looking for %s: %w: %w", to.Name(), ErrUnreachable, line{err})
		}
		return nil
	})
	if err == nil && len(missing) > 0 {
		slices.Sort(missing)
		err = fmt.Errorf("image: registry %s has no %s: push what is missing with --push", r, strings.Join(missing, ", "))
	}
	return err
}

// lacking returns the platforms of images that the registry has none of, as
// "REF for linux/arm64".
func lacking(to name.Reference, images []v1.Image, options []remote.Option) (lacks []string, err error) {
	there, err := remote.Get(to, options...)
	if err != nil {
		return nil, err
	}
	has, err := platforms(there)
	if err != nil {
		return nil, err
	}
	for _, img := range images {
		want, err := platformOf(img)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(has, func(p v1.Platform) bool { return p.Satisfies(want) }) {
			lacks = append(lacks, fmt.Sprintf("%s for %s", to.Name(), want))
		}
	}
	return lacks, nil
}

// platforms lists those of what a reference means: an image, or an index of some.
func platforms(d *remote.Descriptor) (all []v1.Platform, err error) {
	if !d.MediaType.IsIndex() {
		img, err := d.Image()
		if err != nil {
			return nil, err
		}
		only, err := platformOf(img)
		return []v1.Platform{only}, err
	}
	index, err := d.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform != nil {
			all = append(all, *m.Platform)
		}
	}
	return all, nil
}

// each calls do for each name in the archives, with its images: one for each
// architecture.
func (r Registry) each(ctx context.Context, archives []string, do func(name.Reference, []v1.Image, []remote.Option) error) error {
	client := remote.DefaultTransport.(*http.Transport).Clone()
	defer client.CloseIdleConnections()
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(client)}
	var refs []string // in the archives' order
	named := map[string][]v1.Image{}
	for _, archive := range archives {
		images, err := imagesIn(archive)
		if err != nil {
			return fmt.Errorf("image: %s: %w", archive, err)
		}
		for _, i := range images {
			if named[i.ref] == nil {
				refs = append(refs, i.ref)
			}
			named[i.ref] = append(named[i.ref], i.image)
		}
	}
	for _, known := range refs {
		ref, err := r.Ref(known)
		if err != nil {
			return err
		}
		to, err := parseRef(ref)
		if err != nil {
			return fmt.Errorf("image: %w", err)
		}
		if err := do(to, named[known], options); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	return nil
}

type saved struct {
	ref   string
	image v1.Image
}

// imagesIn lists the images of a docker-save archive that the lab wrote, which
// has one name for each.
func imagesIn(archive string) ([]saved, error) {
	open := func() (io.ReadCloser, error) { return os.Open(archive) }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, err
	}
	var all []saved
	for _, d := range manifest {
		for _, ref := range d.RepoTags {
			tag, err := name.NewTag(ref)
			if err != nil {
				return nil, err
			}
			img, err := tarball.Image(open, &tag)
			if err != nil {
				return nil, err
			}
			all = append(all, saved{ref, img})
		}
	}
	return all, nil
}
