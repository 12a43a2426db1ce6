// Package registry keeps the caches of several machines in a repository of an OCI registry. Each
// entry is an artifact: a manifest whose layer is the packed folder, with the description of the
// entry as an annotation. Its tags are the addresses of the entry.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/pull"
)

const (
	artifactType = "application/vnd.stepexec.cache.v1"
	annotation   = "dev.stepexec.cache.entry" // JSON of a cache.Entry
	tagPrefix    = "stepexec-cache-"          // so that no tag of an image is ever replaced
)

// repository is a cache.Depot.
type repository struct {
	name    name.Repository
	options []remote.Option
	puller  *remote.Puller
	pusher  *remote.Pusher
	close   func()
}

// Open returns the depot in a repository such as registry.example.com/ci/cache. It sends nothing yet.
func Open(repo string, o pull.Options) (cache.Depot, error) {
	c, err := pull.Connect(repo, o)
	if err != nil {
		return nil, err
	}
	r := &repository{name: c.Repository, close: c.Close, options: []remote.Option{
		remote.WithTransport(c.Transport), remote.WithAuthFromKeychain(c.Keychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 2}),
	}}
	r.puller, err = remote.NewPuller(r.options...)
	if err == nil {
		r.pusher, err = remote.NewPusher(r.options...)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return r, nil
}

func (r *repository) Close() { r.close() }

// Entry implements cache.Depot.
func (r *repository) Entry(ctx context.Context, address string) ([]byte, error) {
	got, err := r.puller.Get(pull.OnlyDocuments(ctx), r.name.Tag(tagPrefix+address))
	if err != nil {
		return nil, reason(err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(got.Manifest, &manifest); err != nil {
		return nil, fmt.Errorf("the manifest of the tag %s is not valid JSON", tagPrefix+address)
	}
	if manifest.ArtifactType != artifactType {
		return nil, fmt.Errorf("the tag %s is not a cache of stepexec", tagPrefix+address)
	}
	return []byte(manifest.Annotations[annotation]), nil
}

// Data implements cache.Depot. The library checks the digest as well.
func (r *repository) Data(ctx context.Context, hash string) (io.ReadCloser, error) {
	layer, err := r.puller.Layer(ctx, r.name.Digest("sha256:"+hash))
	if err != nil {
		return nil, reason(err)
	}
	data, err := layer.Compressed()
	return data, reason(err)
}

// Put implements cache.Depot.
func (r *repository) Put(ctx context.Context, u cache.Upload) error {
	layer, err := partial.CompressedToLayer(&packed{u})
	if err != nil {
		return err
	}
	empty := ocispec.DescriptorEmptyJSON
	for _, blob := range []v1.Layer{layer, static.NewLayer(empty.Data, types.MediaType(empty.MediaType))} {
		if err := r.pusher.Upload(ctx, r.name, blob); err != nil {
			return reason(err)
		}
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config:      empty,
		Layers:      []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.NewDigestFromEncoded(digest.SHA256, u.Digest), Size: u.Size}},
		Annotations: map[string]string{annotation: string(u.Description)},
	})
	if err != nil {
		return err
	}
	for _, address := range u.Addresses {
		if err := r.pusher.Put(ctx, r.name.Tag(tagPrefix+address), document(manifest)); err != nil {
			return reason(err)
		}
	}
	return nil
}

// Addresses implements cache.Depot.
func (r *repository) Addresses(ctx context.Context) ([]string, error) {
	tags, err := r.puller.List(pull.OnlyDocuments(ctx), r.name)
	if err = reason(err); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was ever saved
	}
	var addresses []string
	for _, tag := range tags {
		if address, ours := strings.CutPrefix(tag, tagPrefix); ours && cache.IsWholeKey(address) {
			addresses = append(addresses, address)
		}
	}
	return addresses, err
}

// Remove implements cache.Depot. It removes the manifest with all its tags; the registry
// itself collects the data.
func (r *repository) Remove(ctx context.Context, addresses []string, _ string) error {
	found, err := r.puller.Head(ctx, r.name.Tag(tagPrefix+addresses[0]))
	if err != nil {
		return reason(err)
	}
	err = reason(r.pusher.Delete(ctx, r.name.Digest(found.Digest.String())))
	if answer := new(answered); errors.As(err, &answer) && answer.status == http.StatusMethodNotAllowed {
		return fmt.Errorf("%w: the registry does not let anybody delete (allow it in its settings)", err)
	}
	return err
}

// packed is a layer of packed data.
type packed struct{ upload cache.Upload }

func (p *packed) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: p.upload.Digest}, nil
}
func (p *packed) Size() (int64, error) { return p.upload.Size, nil }
func (p *packed) MediaType() (types.MediaType, error) {
	return types.OCILayerZStd, nil
}

// Compressed returns the data from their beginning, as often as it is called: an upload is repeated
// after some errors.
func (p *packed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(p.upload.Watch(io.NewSectionReader(p.upload.Data, 0, p.upload.Size))), nil
}

// document is a manifest to be stored.
type document []byte

// RawManifest implements remote.Taggable.
func (d document) RawManifest() ([]byte, error) { return d, nil }

// MediaType is that of the manifest.
func (d document) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// answered is an answer that is an error. Its text is not shown: it could repeat credentials of the
// request.
type answered struct{ status int }

func (a *answered) Error() string {
	return fmt.Sprintf("the registry answered %d %s", a.status, http.StatusText(a.status))
}

// reason is an error without what a registry may have put into its text. It is fs.ErrNotExist if the
// registry does not have what was asked for.
func reason(err error) error {
	if answer := new(transport.Error); errors.As(err, &answer) {
		if answer.StatusCode == http.StatusNotFound {
			return fs.ErrNotExist
		}
		return &answered{answer.StatusCode}
	}
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}
