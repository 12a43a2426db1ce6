package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/unpack"
)

// containerdName is the annotation in which containerd and docker store the full name of an image
// in a layout.
const containerdName = "io.containerd.image.name"

// An Image is an image to write, with its names in the archive. An image without a tag has no
// names.
type Image struct {
	unpack.ImageRecord
	Names []string // full names, such as docker.io/library/golang:1.26
}

// Write writes the images, each layer once. The store must have all their layers. The error comes
// from the store, such as unpack.ErrNoRecipe, or from w.
func Write(ctx context.Context, store *unpack.Store, images []Image, compression Compression, w io.Writer) error {
	a := &writer{
		ctx: ctx, store: store, compression: compression, out: tar.NewWriter(w),
		blobs: map[digest.Digest]bool{}, layers: map[digest.Digest]ocispec.Descriptor{},
	}
	err := a.file("oci-layout", fmt.Appendf(nil, `{"imageLayoutVersion":%q}`, ocispec.ImageLayoutVersion))
	for _, image := range images {
		if err == nil {
			err = a.image(image)
		}
	}
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return a.close()
}

// writer writes one archive.
type writer struct {
	ctx         context.Context
	store       *unpack.Store
	compression Compression
	out         *tar.Writer

	blobs  map[digest.Digest]bool               // blobs already in the archive
	layers map[digest.Digest]ocispec.Descriptor // compressed layers in the archive, by diffID
	index  ocispec.Index
	docker []dockerImage
}

// dockerImage is an entry of manifest.json: https://github.com/moby/docker-image-spec, "Combined Image JSON".
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (a *writer) image(image Image) error {
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	docker := dockerImage{RepoTags: image.Names}
	for _, diffID := range image.DiffIDs() {
		layer, err := a.layer(diffID)
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Reference, err)
		}
		manifest.Layers = append(manifest.Layers, layer)
		docker.Layers = append(docker.Layers, blobName(layer.Digest))
	}
	var err error
	if manifest.Config, err = a.blob(ocispec.MediaTypeImageConfig, image.Config); err != nil {
		return err
	}
	docker.Config = blobName(manifest.Config.Digest)
	data, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	entry, err := a.blob(ocispec.MediaTypeImageManifest, data)
	if err != nil {
		return err
	}
	a.docker = append(a.docker, docker)
	a.index.Manifests = append(a.index.Manifests, named(entry, image.Names)...)
	return nil
}

// named returns the manifest once for each name, or once without a name when there are none.
func named(manifest ocispec.Descriptor, names []string) []ocispec.Descriptor {
	if len(names) == 0 {
		return []ocispec.Descriptor{manifest}
	}
	var all []ocispec.Descriptor
	for _, name := range names {
		entry := manifest
		entry.Annotations = map[string]string{
			containerdName:            name,
			ocispec.AnnotationRefName: name[strings.LastIndexByte(name, ':')+1:],
		}
		all = append(all, entry)
	}
	return all
}

// layer writes a layer unless the archive already has it. In a tar, digest and size come before the
// content, but they are known only after compression: so the layer is compressed twice, which saves
// a temporary file.
func (a *writer) layer(diffID digest.Digest) (ocispec.Descriptor, error) {
	if d, ok := a.layers[diffID]; ok {
		return d, nil
	}
	hash, size := digest.SHA256.Digester(), &counter{}
	if err := a.compress(diffID, io.MultiWriter(hash.Hash(), size)); err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: a.compression.mediaType(), Digest: hash.Digest(), Size: size.n}
	if err := a.header(blobName(d.Digest), d.Size); err != nil {
		return d, err
	}
	hash = digest.SHA256.Digester()
	if err := a.compress(diffID, io.MultiWriter(hash.Hash(), a.out)); err != nil {
		return d, err
	}
	if got := hash.Digest(); got != d.Digest {
		return d, fmt.Errorf("layer %s was compressed to %s first and to %s then: the store was changed", diffID, d.Digest, got)
	}
	a.layers[diffID] = d
	return d, nil
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func (a *writer) compress(diffID digest.Digest, w io.Writer) error {
	zip, err := a.compression.writer(w)
	if err != nil {
		return err
	}
	return errors.Join(a.store.WriteTar(a.ctx, diffID, zip), zip.Close())
}

// blob writes a document unless the archive already has it.
func (a *writer) blob(mediaType string, data []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if a.blobs[d.Digest] {
		return d, nil
	}
	a.blobs[d.Digest] = true
	return d, a.file(blobName(d.Digest), data)
}

func blobName(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

func (a *writer) file(name string, data []byte) error {
	if err := a.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := io.Copy(a.out, bytes.NewReader(data))
	return err
}

// header begins a file. It sets no time, so that equal images make equal archives.
func (a *writer) header(name string, size int64) error {
	return a.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX})
}

// close writes the indexes and the end of the archive.
func (a *writer) close() error {
	a.index.Versioned, a.index.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageIndex
	index, err := json.Marshal(a.index)
	if err == nil {
		err = a.file(ocispec.ImageIndexFile, index)
	}
	docker, dockerErr := json.Marshal(a.docker)
	if err = errors.Join(err, dockerErr); err == nil {
		err = a.file("manifest.json", docker)
	}
	if err = errors.Join(err, a.out.Close()); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}
