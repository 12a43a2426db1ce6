package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxIndexDepth is the number of indexes allowed between a reference and its image. A cycle is
	// impossible: each document has the digest that its parent names.
	maxIndexDepth = 3
	// maxDocuments bounds the manifests and indexes read for one reference, so that an index with
	// thousands of nested indexes causes an error rather than thousands of requests.
	maxDocuments = 64
	// maxListed bounds the platforms or tags that an error lists.
	maxListed = 20
)

// chooser looks for the image of one platform among the descriptors of a place.
type chooser struct {
	place     place
	want      ocispec.Platform
	documents int
	others    []string // media types found that are not images
}

// candidate is an image that may be chosen. Its documents are read as late as possible: an index
// states the platforms of most images.
type candidate struct {
	descriptor  ocispec.Descriptor
	platform    ocispec.Platform // normalised
	rawManifest []byte           // nil: neither it nor the following fields have been read yet
	manifest    *ocispec.Manifest
	rawConfig   []byte
	config      ocispec.Image
}

// choose returns the image that fits best, after reading and verifying its documents.
func (c *chooser) choose(ctx context.Context, roots []ocispec.Descriptor) (candidate, error) {
	candidates, err := c.walk(ctx, roots, 0)
	if err != nil {
		return candidate{}, err
	}
	best, ok := nearest(c.want, candidates)
	if !ok {
		return candidate{}, noImage(c.want, c.there(candidates))
	}
	if best.rawManifest == nil {
		if best, err = c.load(ctx, best.descriptor); err != nil {
			return candidate{}, err
		}
	}
	// The index proves nothing: the configuration decides which platform the image runs on.
	if _, ok := fit(c.want, best.platform); !ok {
		return candidate{}, noImage(c.want, []string{format(best.platform)})
	}
	return best, nil
}

// nearest returns the candidate that fits want best, the first one among equals.
func nearest(want ocispec.Platform, candidates []candidate) (best candidate, ok bool) {
	least := -1
	for _, c := range candidates {
		if distance, fits := fit(want, c.platform); fits && (least < 0 || distance < least) {
			best, least = c, distance
		}
	}
	return best, least >= 0
}

// walk lists the images below the descriptors. depth is the number of indexes above them.
func (c *chooser) walk(ctx context.Context, descriptors []ocispec.Descriptor, depth int) ([]candidate, error) {
	var found []candidate
	for _, d := range descriptors {
		if isAttestation(d) {
			continue
		}
		named := depth == 0 && len(descriptors) == 1 // named by the reference, so it must be an image
		if !named && !isIndex(d.MediaType) && !isManifest(d.MediaType) {
			// image-index.md: an implementation must not fail on unknown media types.
			c.others = append(c.others, d.MediaType)
			continue
		}
		below, err := c.candidates(ctx, d, depth)
		if artifact := new(artifactError); errors.As(err, &artifact) && !named {
			c.others = append(c.others, artifact.mediaType)
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// candidates returns the images that one descriptor leads to: the image itself, whose documents are
// read only if the descriptor has no platform, or the images of an index.
func (c *chooser) candidates(ctx context.Context, d ocispec.Descriptor, depth int) ([]candidate, error) {
	if isManifest(d.MediaType) && d.Platform != nil {
		if p, err := normalise(*d.Platform); err == nil {
			return []candidate{{descriptor: d, platform: p}}, nil
		}
	}
	doc, raw, err := c.read(ctx, d)
	if err != nil {
		return nil, err
	}
	if doc.index == nil {
		one, err := c.complete(ctx, d, doc.manifest, raw)
		return []candidate{one}, err
	}
	if depth == maxIndexDepth {
		return nil, fmt.Errorf("index %s: more than %d indexes inside each other", d.Digest, maxIndexDepth)
	}
	return c.walk(ctx, doc.index.Manifests, depth+1)
}

func (c *chooser) load(ctx context.Context, d ocispec.Descriptor) (candidate, error) {
	doc, raw, err := c.read(ctx, d)
	if err != nil {
		return candidate{}, err
	}
	if doc.manifest == nil {
		return candidate{}, fmt.Errorf("manifest %s: it is an index, which the index above it does not say", d.Digest)
	}
	return c.complete(ctx, d, doc.manifest, raw)
}

// read fetches, verifies and parses one manifest or index.
func (c *chooser) read(ctx context.Context, d ocispec.Descriptor) (document, []byte, error) {
	c.documents++
	if c.documents > maxDocuments {
		return document{}, nil, fmt.Errorf("more than %d manifests have to be read to find the platform", maxDocuments)
	}
	raw, err := c.readVerified(d, func() ([]byte, error) { return c.place.manifest(ctx, d) })
	if err != nil {
		return document{}, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	doc, err := parseDocument(d.MediaType, raw)
	if err != nil {
		return document{}, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return doc, raw, nil
}

// complete reads the configuration of a manifest and takes the platform from it.
func (c *chooser) complete(ctx context.Context, d ocispec.Descriptor, m *ocispec.Manifest, raw []byte) (candidate, error) {
	rawConfig, err := c.readVerified(m.Config, func() ([]byte, error) { return c.place.config(ctx, m.Config) })
	if err != nil {
		return candidate{}, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	one := candidate{descriptor: d, rawManifest: raw, manifest: m, rawConfig: rawConfig}
	if one.config, err = parseConfig(rawConfig, len(m.Layers)); err != nil {
		return candidate{}, err
	}
	one.platform, err = configPlatform(one.config.Platform, d.Platform, c.want)
	return one, err
}

// readVerified reads a document and verifies it against its descriptor.
func (c *chooser) readVerified(d ocispec.Descriptor, read func() ([]byte, error)) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, errTooLarge
	}
	raw, err := read()
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != d.Size {
		return nil, fmt.Errorf("it is not %d bytes long as its descriptor says", d.Size)
	}
	if got := digest.FromBytes(raw); got != d.Digest {
		return nil, fmt.Errorf("its digest is %s: the content was changed or damaged", got)
	}
	return raw, nil
}

// configPlatform returns the platform that a configuration names. Missing parts come from the
// index, then from the wanted platform: builders for a single platform often write none.
func configPlatform(config ocispec.Platform, index *ocispec.Platform, want ocispec.Platform) (ocispec.Platform, error) {
	if index == nil {
		index = &ocispec.Platform{}
	}
	for _, from := range []ocispec.Platform{*index, want} {
		if config.OS == "" {
			config.OS = from.OS
		}
		if config.Architecture == "" {
			config.Architecture, config.Variant = from.Architecture, from.Variant
		}
	}
	p, err := normalise(config)
	if err != nil {
		return p, err
	}
	if above, err := normalise(*index); err == nil && config.Variant == "" && above.Architecture == p.Architecture {
		p.Variant = above.Variant
	}
	return p, nil
}

// isAttestation recognises the entries that BuildKit adds for provenance and SBOMs.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// there lists what an error can offer: platforms, or the other things found instead of images.
func (c *chooser) there(candidates []candidate) []string {
	var there []string
	for _, one := range candidates {
		there = append(there, format(one.platform))
	}
	if len(there) == 0 {
		for _, other := range c.others {
			there = append(there, fmt.Sprintf("%q", other))
		}
	}
	return there
}

func noImage(want ocispec.Platform, there []string) error {
	return &failure{fmt.Sprintf("no image for %s (there is %s)", format(want), listed(there)), ErrPlatform}
}

// listed joins names for an error, each once.
func listed(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - maxListed; more > 0 {
		names = append(names[:maxListed:maxListed], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
