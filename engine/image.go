package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// ErrNotPulled says that an image is not there and may not be pulled.
var ErrNotPulled = errors.New("not in the store, and the pull policy is never")

// Image is an image whose layers are in the store, ready to be mounted.
type Image struct {
	Name      string        // normalised, such as docker.io/library/golang:1.26
	Digest    digest.Digest // of the manifest; "" for rootfs:DIR
	Platform  string
	Config    ocispec.Image
	Lowerdirs []string // lowest first
	Pulled    bool     // it was resolved now, not taken from an earlier pull
}

// Fetcher makes images ready. Its fields must not change once it is used.
type Fetcher struct {
	Store    *unpack.Store
	Dir      string // relative oci:, docker-archive: and rootfs: paths start here; "": the working directory
	Platform string // "": this machine's
	Options  pull.Options
	Progress func(image string, p unpack.Progress) // may be nil
}

// Fetch makes the image ready: from the store when the policy allows and all
// of it is there, which needs no network, otherwise from its source. Images in
// folders and archives are always looked at, for they change in place.
func (f *Fetcher) Fetch(ctx context.Context, reference string, policy pipeline.PullPolicy) (*Image, error) {
	ref, err := pull.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	if ref.IsLocal() && !filepath.IsAbs(ref.Path) {
		ref.Path = filepath.Join(f.Dir, ref.Path)
	}
	if ref.Scheme == pull.SchemeRootfs {
		return rootfsImage(ref)
	}
	if !ref.IsLocal() && policy != pipeline.PullAlways {
		image, err := f.stored(ref.String())
		if image != nil || err != nil {
			return image, err
		}
		if policy == pipeline.PullNever {
			return nil, fmt.Errorf("image %s: %w (pull it first: stepexec pull %s)", ref, ErrNotPulled, ref)
		}
	}
	return f.pull(ctx, ref.String())
}

// rootfsImage takes a directory for an image without any configuration.
func rootfsImage(ref pull.Reference) (*Image, error) {
	path, err := filepath.Abs(ref.Path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("image %s: not a directory", ref)
	}
	return &Image{Name: ref.String(), Platform: platform(""), Lowerdirs: []string{path}}, nil
}

// stored is the image as an earlier pull left it, or nil.
func (f *Fetcher) stored(name string) (*Image, error) {
	record, err := f.Store.Image(name, platform(f.Platform))
	if errors.Is(err, unpack.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var diffIDs []digest.Digest
	for _, layer := range record.Layers {
		diffIDs = append(diffIDs, layer.DiffID)
	}
	lowerdirs, ok := f.Store.Lowerdirs(diffIDs)
	if !ok {
		return nil, nil
	}
	image := &Image{Name: name, Digest: record.Manifest, Platform: record.Platform, Lowerdirs: lowerdirs}
	if err := json.Unmarshal(record.Config, &image.Config); err != nil {
		return nil, fmt.Errorf("read the stored configuration of %s: %w", name, err)
	}
	return image, nil
}

func (f *Fetcher) pull(ctx context.Context, name string) (_ *Image, err error) {
	options := f.Options
	options.Platform = f.Platform
	source, err := pull.Resolve(ctx, name, options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	record := unpack.ImageRecord{
		Reference: name, Platform: platform(f.Platform), Manifest: source.Digest,
		Config: source.RawConfig, Pulled: time.Now().UTC(),
	}
	var layers []unpack.Layer
	for _, layer := range source.Layers {
		layers = append(layers, unpack.Layer{
			DiffID: layer.DiffID, Digest: layer.Digest, Size: layer.Size, Open: layer.Open,
		})
		record.Layers = append(record.Layers, unpack.RecordLayer{
			DiffID: layer.DiffID, Digest: layer.Digest, Size: layer.Size,
		})
	}
	var progress func(unpack.Progress)
	if f.Progress != nil {
		progress = func(p unpack.Progress) { f.Progress(name, p) }
	}
	lowerdirs, err := f.Store.Unpack(ctx, layers, progress)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", name, err)
	}
	if err := f.Store.SaveImage(record); err != nil {
		return nil, fmt.Errorf("pull %s: %w", name, err)
	}
	return &Image{
		Name: name, Digest: source.Digest, Platform: source.Platform,
		Config: source.Config, Lowerdirs: lowerdirs, Pulled: true,
	}, nil
}

func platform(asked string) string {
	if asked == "" {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	return asked
}
