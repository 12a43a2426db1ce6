package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
)

// Options say how to resolve a reference. The zero value works.
type Options struct {
	// Platform is OS/ARCH or OS/ARCH/VARIANT, such as "linux/arm64" or "linux/arm/v7".
	// "" is the host's.
	Platform string
	// Keychain finds a registry's credentials. nil is $DOCKER_AUTH_CONFIG, then docker's
	// config.json with its credential helpers, or podman's auth.json without one.
	Keychain authn.Keychain
	// HelperTimeout is how long a credential helper may take. 0 is 30 s.
	HelperTimeout time.Duration
	// Transport carries requests to registries. nil is a NewTransport of the image's
	// own; images that come from the same registry may share one. Hosts with settings
	// for their connections in Registries have transports of their own. Whatever it is,
	// plain HTTP beyond this machine is refused.
	Transport http.RoundTripper
	// Registries are the settings of registries: mirrors, certificates, timeouts. nil
	// is none.
	Registries *Registries
	// StallTimeout is how long a registry may send nothing before the request counts as
	// interrupted and is made again. 0 is 30 s.
	StallTimeout time.Duration
	// RetryWait is how long to wait after a failed request before it is made again; it
	// doubles with each failure in a row. 0 is 500 ms.
	RetryWait time.Duration
	// Place returns the place of a path that names an image of this machine. nil is the
	// path itself, whatever links are on the way.
	Place func(path string) beneath.Path
	// Ranges say when a large layer comes over several connections at once.
	Ranges Ranges
}

func (o Options) place(path string) beneath.Path {
	if o.Place == nil {
		return beneath.At(path)
	}
	return o.Place(path)
}

// Image is an image whose manifest and configuration were read and verified.
type Image struct {
	Reference string // as it was asked for
	Name      string // normalised, such as docker.io/library/golang:1.22
	// Digest is the manifest's, or the configuration's for a docker-archive, which
	// has no manifest digests.
	Digest digest.Digest
	// Root is the digest of what the reference names: an index of several platforms, or
	// the manifest. It is empty for a docker-archive, and for a layout without a tag
	// that has several manifests.
	Root     digest.Digest
	Platform string // the image's own, normalised, such as linux/arm/v6
	Config   ocispec.Image
	// RawConfig and RawManifest are the documents as stored. The manifest of a
	// docker-archive is the image's entry of its manifest.json.
	RawConfig, RawManifest []byte
	Layers                 []Layer // lowest first; the same layer may be there twice
	Private                bool    // there were credentials for its registry, or for a mirror: others may not get it

	close    func() error
	warnings func() []string // nil: there are none
}

// Warnings returns what people should know of how the image came, such as which
// mirrors were left out and why. Reading layers can add to it.
func (i *Image) Warnings() []string {
	if i.warnings == nil {
		return nil
	}
	return i.warnings()
}

// Close releases the file, folder or connections behind the image. Layer streams
// are to be closed first.
func (i *Image) Close() error {
	if i.close == nil {
		return nil
	}
	return i.close()
}

// Layer is one layer of an image.
type Layer struct {
	// Digest is that of the stream as stored. It is empty for a compressed layer of
	// a docker-archive, which names none: DiffID alone verifies such a layer.
	Digest digest.Digest
	// DiffID is the digest of the uncompressed tar.
	DiffID digest.Digest
	Size   int64 // bytes of the stream as stored
	// MediaType is the stored one. It says how the stream is compressed; docker's
	// old types say gzip whatever they are, so readers look at the first bytes.
	MediaType string

	open  func(ctx context.Context) (io.ReadCloser, error)
	again func() bool // nil: never
}

// Again reports, after a stream was read to its end and found wrong, whether Open has
// another source for the layer: over one connection from the host whose ranges did not
// fit together, from the next mirror, or from the registry itself.
func (l Layer) Again() bool { return l.again != nil && l.again() }

// Open returns the layer's stream as stored, compressed or plain. The caller closes
// it, at any time; reads fail once ctx is done. A registry's stream is resumed where
// it was interrupted, from a mirror or the registry, and has Size bytes or fails.
//
// Digests are the caller's to verify, all of it: no stream compares itself with
// Digest, as the caller would only do the same work again. A stream that was read to
// its end and found wrong may be opened once more where Again says so.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	if l.open == nil {
		return nil, fmt.Errorf("open layer %s: it comes from no image", l.Digest)
	}
	return l.open(ctx)
}

// resolveTimeout bounds Resolve as a whole: a registry that answers a byte at a
// time would hold a pipeline for ever. The documents are small.
const resolveTimeout = 2 * time.Minute

var errSlow = errors.New("no answer in full after 2 minutes")

// Resolve reads and verifies the manifest and the configuration of the image that
// reference names for the wanted platform. Layers are not fetched. The caller
// closes the image.
//
// Errors name the reference and the reason, never a credential, and wrap
// ErrNotFound, ErrUnauthorized or ErrPlatform where these apply. A rootfs:
// reference is refused: it has no layers.
func Resolve(ctx context.Context, reference string, o Options) (*Image, error) {
	ref, err := ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	if !ref.IsEngines() { // those come as a whole
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, resolveTimeout, errSlow)
		defer cancel()
	}
	img, err := resolve(ctx, ref, o)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	img.Reference, img.Name = reference, ref.String()
	return img, nil
}

func resolve(ctx context.Context, ref Reference, o Options) (*Image, error) {
	want, err := parsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	switch ref.Scheme {
	case SchemeDockerArchive:
		return resolveDockerArchive(ref, o.place(ref.Path), want)
	case SchemeDockerDaemon, SchemeContainersStorage:
		return resolveEngine(ctx, ref, want)
	case SchemeRootfs:
		return nil, errors.New("programming error: a rootfs: folder has no layers to pull, use Reference.Path as it is")
	}
	p, err := openPlace(ref, o)
	if err != nil {
		return nil, err
	}
	img, err := resolveFrom(ctx, p, ref, want)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return img, nil
}

// place holds manifests and blobs: a repository of a registry, a folder or archive
// with a layout, a folder of skopeo. What it returns is not verified yet.
type place interface {
	// roots returns the descriptors that the reference names: mostly one.
	roots(ctx context.Context) ([]ocispec.Descriptor, error)
	// manifest returns the manifest or index d, which is at most maxDocument long.
	manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// config returns the configuration d, which is at most maxDocument long.
	config(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// blob opens a layer.
	blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	Close() error
}

func openPlace(ref Reference, o Options) (place, error) {
	switch ref.Scheme {
	case SchemeOCI:
		return openLayoutFolder(ref, o.place(ref.Path))
	case SchemeDir:
		return openDir(o.place(ref.Path))
	case SchemeOCIArchive:
		return openLayoutArchive(ref, o.place(ref.Path))
	default:
		return openRegistry(ref, o)
	}
}

func resolveFrom(ctx context.Context, p place, ref Reference, want ocispec.Platform) (*Image, error) {
	roots, err := p.roots(ctx)
	if err != nil {
		return nil, err
	}
	found, err := (&chooser{place: p, want: want}).choose(ctx, roots)
	if err != nil {
		return nil, err
	}
	img := &Image{
		Digest:      found.descriptor.Digest,
		Platform:    format(found.platform),
		Config:      found.config,
		RawConfig:   found.rawConfig,
		RawManifest: found.rawManifest,
		close:       p.Close,
	}
	if len(roots) == 1 {
		img.Root = roots[0].Digest
	}
	r, _ := p.(*registry)
	if r != nil {
		img.warnings = r.warnings
		img.Private = slices.ContainsFunc(r.endpoints, func(e *endpoint) bool { return e.credentials.found.Load() })
	}
	for i, d := range found.manifest.Layers {
		var again func() bool
		if r != nil {
			again = func() bool { return r.again(d.Digest) }
		}
		img.Layers = append(img.Layers, Layer{
			again:     again,
			Digest:    d.Digest,
			DiffID:    found.config.RootFS.DiffIDs[i],
			Size:      d.Size,
			MediaType: d.MediaType,
			open: func(ctx context.Context) (io.ReadCloser, error) {
				stream, err := p.blob(ctx, d)
				if errors.Is(err, ErrNotFound) && isForeign(d) {
					err = fmt.Errorf("%w; it is foreign, and urls are not used: push the image with its layers", err)
				}
				if err != nil {
					return nil, fmt.Errorf("pull %s: layer %s: %w", ref, d.Digest, err)
				}
				return stream, nil
			},
		})
	}
	return img, nil
}
