package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
)

// savedImage is one image of the manifest.json that `docker save` writes (moby's
// image specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
type savedImage struct {
	Config   string   // file name
	RepoTags []string // full references
	Layers   []string // file names, lowest first

	raw json.RawMessage
}

func resolveDockerArchive(ref Reference, place beneath.Path, want ocispec.Platform) (*Image, error) {
	a, err := openArchive(place)
	if err != nil {
		return nil, err
	}
	img, err := savedImageIn(a, ref, want)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	img.close = a.Close
	return img, nil
}

func savedImageIn(a *archive, ref Reference, want ocispec.Platform) (*Image, error) {
	raw, err := readFile(a, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it is not a docker archive: it has no file manifest.json (is it an oci-archive?)")
	}
	if err != nil {
		return nil, err
	}
	images, err := parseSaved(raw)
	if err != nil {
		return nil, err
	}
	saved, err := savedByTag(images, ref.Tag)
	if err != nil {
		return nil, err
	}
	img := &Image{RawManifest: saved.raw}
	if err := readSavedConfig(a, saved, want, img); err != nil {
		return nil, err
	}
	for i, name := range saved.Layers {
		layer, err := savedLayer(a, name, img.Config.RootFS.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		img.Layers = append(img.Layers, layer)
	}
	return img, nil
}

func parseSaved(raw []byte) ([]savedImage, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("file manifest.json is not valid: %w", err)
	}
	images := make([]savedImage, len(entries))
	for i, entry := range entries {
		if err := json.Unmarshal(entry, &images[i]); err != nil {
			return nil, fmt.Errorf("file manifest.json is not valid: %w", err)
		}
		if n := len(images[i].Layers); n > maxLayers {
			return nil, fmt.Errorf("%d layers are more than the %d that can be mounted", n, maxLayers)
		}
		images[i].raw = entry
	}
	return images, nil
}

// savedByTag returns the image with that tag or, without a tag, the only image.
func savedByTag(images []savedImage, tag string) (savedImage, error) {
	var tags []string
	var found []savedImage
	for _, img := range images {
		for _, name := range img.RepoTags {
			tags = append(tags, fmt.Sprintf("%q", name))
		}
		matches := func(name string) bool { return tagMatches(name, tag) }
		if tag == "" || slices.ContainsFunc(img.RepoTags, matches) {
			found = append(found, img)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(images) == 0:
		return savedImage{}, &failure{"the archive is empty", ErrNotFound}
	case len(found) == 0:
		return savedImage{}, &failure{fmt.Sprintf("no such tag %q (there is %s)", tag, listed(tags)), ErrNotFound}
	}
	return savedImage{}, fmt.Errorf("the archive has several such images: add a full name as the tag (there is %s)", listed(tags))
}

// readSavedConfig fills in the fields that come from the image's configuration.
func readSavedConfig(a *archive, saved savedImage, want ocispec.Platform, img *Image) (err error) {
	if img.RawConfig, err = readFile(a, path.Clean(saved.Config)); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	img.Digest = digest.FromBytes(img.RawConfig)
	// Tools name the file after its digest: HEX.json, sha256:HEX or blobs/sha256/HEX.
	hex := strings.TrimPrefix(strings.TrimSuffix(path.Base(saved.Config), ".json"), "sha256:")
	if named := digest.Digest("sha256:" + hex); checkDigest(named) == nil && named != img.Digest {
		return fmt.Errorf("config %s: its digest is %s: the content was changed or damaged", named, img.Digest)
	}
	if img.Config, err = parseConfig(img.RawConfig, len(saved.Layers)); err != nil {
		return err
	}
	have, err := configPlatform(img.Config.Platform, nil, want)
	if err != nil {
		return err
	}
	img.Platform = format(have)
	if _, ok := fit(want, have); !ok {
		return noImage(want, []string{img.Platform})
	}
	return nil
}

func savedLayer(a *archive, name string, diffID digest.Digest) (Layer, error) {
	e, err := lookUp(a.entries, path.Clean(name))
	if err != nil {
		return Layer{}, err
	}
	layer := Layer{DiffID: diffID, Size: e.size, open: func(ctx context.Context) (io.ReadCloser, error) {
		content := io.NewSectionReader(a.file, e.offset, e.size)
		return &cancellable{io.NopCloser(content), ctx}, nil
	}}
	kind, err := compression(io.NewSectionReader(a.file, e.offset, e.size))
	if err != nil {
		return Layer{}, err
	}
	switch kind {
	case "":
		layer.MediaType, layer.Digest = ocispec.MediaTypeImageLayer, diffID
	case "gzip", "zstd":
		layer.MediaType = ocispec.MediaTypeImageLayer + "+" + kind
	default:
		return Layer{}, fmt.Errorf("%q is compressed with %s: gzip, zstd and no compression are supported", name, kind)
	}
	return layer, nil
}
