package pull_test

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	ociManifest    = ocispec.MediaTypeImageManifest
	ociIndex       = ocispec.MediaTypeImageIndex
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// platformImage returns an image with random layers of 1 KiB for one platform.
func platformImage(t testing.TB, platform string, layers int64) v1.Image {
	t.Helper()
	image, err := random.Image(1024, layers)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// descriptor returns the descriptor of a document.
func descriptor(mediaType string, raw []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// manifestOf returns an OCI manifest with these layers.
func manifestOf(t *testing.T, config []byte, layers []ocispec.Descriptor) []byte {
	t.Helper()
	if layers == nil {
		layers = []ocispec.Descriptor{}
	}
	return mustJSON(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ociManifest,
		Config:    descriptor(ocispec.MediaTypeImageConfig, config),
		Layers:    layers,
	})
}

// indexOf returns an OCI index of these manifests.
func indexOf(t *testing.T, manifests ...ocispec.Descriptor) []byte {
	t.Helper()
	return mustJSON(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ociIndex,
		Manifests: manifests,
	})
}
