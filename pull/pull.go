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

// Options are the settings for resolving a reference. The zero value works.
type Options struct {
	// Platform is OS/ARCH or OS/ARCH/VARIANT, such as "linux/arm64" or "linux/arm/v7". "" means the
	// host's platform.
	Platform string
	// Keychain finds a registry's credentials. nil means $DOCKER_AUTH_CONFIG, then docker's
	// config.json with its credential helpers, or podman's auth.json if there is no config.json.
	Keychain authn.Keychain
	// HelperTimeout is how long a credential helper may take. 0 means 30 s.
	HelperTimeout time.Duration
	// Transport carries requests to registries. nil means a NewTransport for this image alone;
	// images from the same registry may share one. Hosts with connection settings in Registries
	// have their own transports. Plain HTTP beyond this machine is refused whatever the Transport.
	Transport http.RoundTripper
	// Registries are the settings of registries: mirrors, certificates, timeouts. nil means no
	// settings.
	Registries *Registries
	// StallTimeout is how long a registry may send nothing before the request counts as interrupted
	// and is repeated. 0 means 30 s.
	StallTimeout time.Duration
	// RetryWait is the wait before a failed request is repeated; it doubles with each failure in a
	// row. 0 means 500 ms.
	RetryWait time.Duration
	// Place opens a path that names an image of this machine. nil means the path itself, following
	// any links.
	Place func(path string) beneath.Path
	// Ranges decide when a large layer is fetched over several connections at once.
	Ranges Ranges
}

func (o Options) place(path string) beneath.Path {
	if o.Place == nil {
		return beneath.At(path)
	}
	return o.Place(path)
}

// Image is an image whose manifest and configuration have been read and verified.
type Image struct {
	Name string // reference in full, such as docker.io/library/golang:1.22
	// Digest is the manifest's digest, or the configuration's for a docker-archive, which has no
	// manifest digests.
	Digest digest.Digest
	// Root is the digest of the document that the reference names: an index of several platforms,
	// or the manifest. It is empty for a docker-archive, and for a layout without a tag that has
	// several manifests.
	Root     digest.Digest
	Platform string // the image's own, normalised, such as linux/arm/v6
	Config   ocispec.Image
	// RawConfig and RawManifest are the documents as stored. For a docker-archive, RawManifest is
	// the image's entry in manifest.json.
	RawConfig, RawManifest []byte
	Layers                 []Layer // lowest first; the same layer may occur twice
	Private                bool    // credentials exist for its registry or for a mirror, so others may not be allowed to use it

	close    func() error
	warnings func() []string // nil if there are none
}

// Warnings returns notices for people about how the image was fetched, such as which mirrors were
// skipped and why. Reading layers can add more.
func (i *Image) Warnings() []string {
	if i.warnings == nil {
		return nil
	}
	return i.warnings()
}

// Close releases the file, folder or connections behind the image. Close all layer streams first.
func (i *Image) Close() error {
	if i.close == nil {
		return nil
	}
	return i.close()
}

// Layer is one layer of an image.
type Layer struct {
	// Digest is the digest of the stream as stored. It is empty for a compressed layer of a
	// docker-archive, which does not name it: only DiffID verifies such a layer.
	Digest digest.Digest
	// DiffID is the digest of the uncompressed tar.
	DiffID digest.Digest
	Size   int64 // bytes of the stream as stored
	// MediaType is the stored media type. It names the compression, but docker's old types say gzip
	// in all cases, so readers look at the first bytes.
	MediaType string

	open  func(ctx context.Context) (io.ReadCloser, error)
	again func() bool // nil means never
}

// Again reports, after a stream was read to its end and its content was wrong, whether Open has
// another source for the layer: a single connection to the host whose ranges did not fit together,
// the next mirror, or the registry itself.
func (l Layer) Again() bool { return l.again != nil && l.again() }

// Open returns the layer's stream as stored, compressed or plain. The caller may close it at any
// time; reads fail once ctx is done. A registry's stream resumes where it was interrupted, from a
// mirror or the registry. It delivers Size bytes or fails.
//
// The caller verifies all digests: streams do not check Digest, because the caller would only do
// the same work again. When Again says so, a stream that was read to its end and had wrong content
// may be opened once more.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	if l.open == nil {
		return nil, fmt.Errorf("open layer %s: it comes from no image", l.Digest)
	}
	return l.open(ctx)
}

// resolveTimeout bounds Resolve as a whole: a registry that answers one byte at a time would hold
// up a pipeline forever. The documents are small.
const resolveTimeout = 2 * time.Minute

var errSlow = errors.New("no answer in full after 2 minutes")

// Resolve reads and verifies the manifest and the configuration of the image that ref names
// for the wanted platform. It does not fetch layers. The caller closes the image.
//
// Errors name the reference and the reason, never a credential, and wrap ErrNotFound,
// ErrUnauthorized or ErrPlatform where these apply. A rootfs: reference is refused because it has
// no layers.
func Resolve(ctx context.Context, ref Reference, o Options) (*Image, error) {
	if !ref.IsEngines() { // those arrive as a whole
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, resolveTimeout, errSlow)
		defer cancel()
	}
	img, err := resolve(ctx, ref, o)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	img.Name = ref.String()
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

// place holds manifests and blobs: a repository of a registry, a folder or archive with a layout,
// or a folder of skopeo. Nothing that it returns is verified yet.
type place interface {
	// roots returns the descriptors that the reference names, usually one.
	roots(ctx context.Context) ([]ocispec.Descriptor, error)
	// manifest returns the manifest or index d, at most maxDocument bytes.
	manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// config returns the configuration d, at most maxDocument bytes.
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
