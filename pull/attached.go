package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/signature"
)

const (
	// maxAttached bounds the number of artifacts read for one image, and of blobs read for each
	// artifact.
	maxAttached = 32
	// cosignArtifact is the artifact type of signatures that refer to their image.
	cosignArtifact = "application/vnd.dev.cosign.artifact.sig.v1+json"
)

// Signatures returns the signatures that a registry, or a mirror of it, has for the digests: under
// cosign's tag sha256-HEX.sig, and as artifacts that refer to the image (distribution specification
// 1.1, "Listing Referrers", or the tag sha256-HEX where a registry has no such list). They are not
// verified. An image without signatures is not an error.
func Signatures(ctx context.Context, ref Reference, digests []digest.Digest, o Options) ([]signature.Evidence, error) {
	if ref.IsLocal() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTimeout, errSlow)
	defer cancel()
	var all []signature.Evidence
	for _, d := range digests {
		found, err := signaturesOf(ctx, ref, d, o)
		if err != nil {
			return nil, fmt.Errorf("signatures of %s: %w", ref, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func signaturesOf(ctx context.Context, ref Reference, d digest.Digest, o Options) ([]signature.Evidence, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	r, err := openRegistry(ref, o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	a := &attached{r}
	all, err := a.ofManifest(ctx, "manifests/sha256-"+d.Encoded()+".sig", "")
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	referrers, err := a.referrers(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, artifact := range referrers {
		if artifact.ArtifactType == signature.Notation {
			all = append(all, signature.Evidence{Kind: signature.KindNotation})
			continue
		}
		found, err := a.ofManifest(ctx, "manifests/"+artifact.Digest.String(), artifact.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// attached reads the artifacts of a repository.
type attached struct{ registry *registry }

// document asks the mirrors and the registry. A mirror that lacks a signature may still have
// others.
func (a *attached) document(ctx context.Context, path string, want digest.Digest) (fetched, error) {
	return ask(ctx, a.registry, func(e *endpoint) (fetched, error) { return e.document(ctx, path, want) })
}

// referrers lists the signatures that refer to a digest.
func (a *attached) referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	got, err := a.document(ctx, "referrers/"+d.String(), "")
	if err != nil { // registries without the list answer with 404, 400, 405 or an HTML page
		got, err = a.document(ctx, "manifests/sha256-"+d.Encoded(), "")
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(got.raw, &index); err != nil {
		return nil, fmt.Errorf("the list of what refers to %s is not valid: %w", d, err)
	}
	var found []ocispec.Descriptor
	for _, m := range index.Manifests {
		known := m.ArtifactType == cosignArtifact || m.ArtifactType == signature.Notation || signature.IsBundle(m.ArtifactType)
		if known && checkDigest(m.Digest) == nil && len(found) < maxAttached {
			found = append(found, m)
		}
	}
	return found, nil
}

// ofManifest returns the evidence in the layers of an artifact.
func (a *attached) ofManifest(ctx context.Context, path string, want digest.Digest) ([]signature.Evidence, error) {
	got, err := a.document(ctx, path, want)
	if err != nil {
		return nil, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(got.raw, &manifest); err != nil {
		return nil, fmt.Errorf("artifact %s is not valid: %w", cmp.Or(want.String(), strings.TrimPrefix(path, "manifests/")), err)
	}
	var all []signature.Evidence
	for _, layer := range manifest.Layers[:min(len(manifest.Layers), maxAttached)] {
		if layer.MediaType != signature.SimpleSigning && !signature.IsBundle(layer.MediaType) || checkDescriptor(layer) != nil {
			continue
		}
		blob, err := a.document(ctx, "blobs/"+layer.Digest.String(), layer.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, signature.Parse(layer.MediaType, layer.Annotations, blob.raw)...)
	}
	return all, nil
}
