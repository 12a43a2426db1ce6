package pull

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types (distribution: "Image Manifest Version 2, Schema 2").
const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSigned1  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

const (
	// maxDocument bounds a manifest, index or configuration, in bytes: they are held in memory. The
	// distribution specification asks registries to accept 4 MiB.
	maxDocument = 8 << 20
	// maxLayers bounds the work that one manifest can cause; an overlay mount takes at most 500
	// (OVL_MAX_STACK in the kernel's fs/overlayfs).
	maxLayers = 500
)

// document is a parsed manifest or index; exactly one of the two is set.
type document struct {
	manifest *ocispec.Manifest
	index    *ocispec.Index
}

// shape has the fields that tell one kind of document from another.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        json.RawMessage `json:"layers"`
	Config        json.RawMessage `json:"config"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// parseDocument parses a manifest or an index. mediaType is the type given by the descriptor or the
// registry, "" if neither gives one.
func parseDocument(mediaType string, raw []byte) (document, error) {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return document{}, fmt.Errorf("the manifest is not valid JSON: %w", err)
	}
	kind, err := documentKind(mediaType, s)
	if err != nil {
		return document{}, err
	}
	var doc document
	switch kind {
	case ocispec.MediaTypeImageIndex, dockerList:
		doc.index = new(ocispec.Index)
		err = json.Unmarshal(raw, doc.index)
	case ocispec.MediaTypeImageManifest, dockerManifest:
		doc.manifest = new(ocispec.Manifest)
		if err = json.Unmarshal(raw, doc.manifest); err == nil {
			err = checkManifest(doc.manifest)
		}
	default:
		err = fmt.Errorf("media type %q is neither an image manifest nor an index", kind)
	}
	if err != nil {
		return document{}, err
	}
	return doc, nil
}

// documentKind returns the one media type on which the label, the document's own field and its
// content agree.
//
// The attack it stops (CVE-2021-41190): a verifier reads one document, with one digest, as a
// harmless manifest, and the runner reads it as an index, or the other way round.
func documentKind(label string, s shape) (string, error) {
	label = specific(label)
	if label != "" && s.MediaType != "" && label != s.MediaType {
		return "", fmt.Errorf("it is labelled %q but calls itself %q: refused as ambiguous", label, s.MediaType)
	}
	kind := cmp.Or(label, s.MediaType)
	index, image := present(s.Manifests), present(s.Layers) || present(s.Config)
	switch {
	case kind == dockerSchema1, kind == dockerSigned1, s.SchemaVersion == 1, present(s.FSLayers):
		return "", errors.New("it is a docker schema 1 manifest, which is obsolete: push the image again with a current tool")
	case index && image:
		return "", errors.New("it has both manifests and layers: refused as ambiguous (CVE-2021-41190)")
	case isIndex(kind) && image, isManifest(kind) && index:
		return "", fmt.Errorf("its content does not fit its media type %q", kind)
	case s.SchemaVersion != 2 && (kind == "" || isIndex(kind) || isManifest(kind)):
		return "", fmt.Errorf("schema version %d is unknown (want 2)", s.SchemaVersion)
	case kind == "" && index:
		return ocispec.MediaTypeImageIndex, nil
	case kind == "" && image:
		return ocispec.MediaTypeImageManifest, nil
	}
	return kind, nil
}

// specific returns a media type without parameters, or "" if it says nothing about
// manifests: plain web servers label them application/json or text/plain.
func specific(label string) string {
	mediaType, _, err := mime.ParseMediaType(label)
	if err != nil {
		return label
	}
	switch mediaType {
	case "application/json", "application/octet-stream", "text/plain", "text/html":
		return ""
	}
	return mediaType
}

func present(field json.RawMessage) bool {
	return len(field) > 0 && !bytes.Equal(field, []byte("null"))
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// artifactError says that a manifest describes something other than an image.
type artifactError struct{ mediaType string }

func (e *artifactError) Error() string {
	return fmt.Sprintf("it is an artifact (%q), not an image", e.mediaType)
}

func checkManifest(m *ocispec.Manifest) error {
	switch m.Config.MediaType {
	case ocispec.MediaTypeImageConfig, dockerConfig:
	default:
		return &artifactError{cmp.Or(m.ArtifactType, m.Config.MediaType)}
	}
	if err := checkDescriptor(m.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if len(m.Layers) > maxLayers {
		return fmt.Errorf("%d layers are more than the %d that can be mounted", len(m.Layers), maxLayers)
	}
	for i, d := range m.Layers {
		if err := checkLayer(d); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}

func checkDescriptor(d ocispec.Descriptor) error {
	if d.Size < 0 {
		return fmt.Errorf("negative size %d", d.Size)
	}
	return checkDigest(d.Digest)
}

// The OCI's deprecated media type prefix of layers that may not be distributed.
const ociForeign = "application/vnd.oci.image.layer.nondistributable.v1.tar"

// isForeign reports whether a layer may have to be fetched from elsewhere. Its urls are never used.
// The attack (CVE-2020-15157): a manifest's urls point into the runner's own network, or to a host
// that asks for, and gets, the registry's credentials. If the registry has the layer anyway, it is
// treated like any other.
func isForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 || strings.HasPrefix(d.MediaType, ociForeign) || strings.HasPrefix(d.MediaType, dockerForeign)
}

func checkLayer(d ocispec.Descriptor) error {
	switch d.MediaType {
	case ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		dockerLayer, dockerLayer + ".gzip", dockerLayer + ".zstd",
		ociForeign, ociForeign + "+gzip", ociForeign + "+zstd", dockerForeign, dockerForeign + ".gzip":
		return checkDescriptor(d)
	}
	return fmt.Errorf("unknown media type %q", d.MediaType)
}

// parseConfig parses an image configuration for a manifest with the given number of layers.
func parseConfig(raw []byte, layers int) (ocispec.Image, error) {
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return config, fmt.Errorf("the config is not valid: %w", err)
	}
	if t := config.RootFS.Type; t != "" && t != "layers" {
		return config, fmt.Errorf("the config's root file system is of type %q, not layers", t)
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return config, fmt.Errorf("the config lists %d layers (diff_ids) but the manifest %d", n, layers)
	}
	for i, id := range config.RootFS.DiffIDs {
		if err := checkDigest(id); err != nil {
			return config, fmt.Errorf("the config's layer %d: %w", i+1, err)
		}
	}
	return config, nil
}
