package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/signature"
	"github.com/stepexec/stepexec/unpack"
)

// ErrNotPulled means that an image is not in the store and must not be pulled.
var ErrNotPulled = errors.New("not in the store, and the pull policy is never")

// Image is an image whose layers are in the store, ready to be mounted.
type Image struct {
	Name      string        // normalised, such as docker.io/library/golang:1.26
	Digest    digest.Digest // of the manifest; "" for rootfs:DIR
	Platform  string
	Config    ocispec.Image
	RawConfig []byte   // bytes of the image's configuration; nil for rootfs:DIR
	Lowerdirs []string // layer directories, lowest first
	Pulled    bool     // whether a source was asked for it now; otherwise an earlier pull has stored it
	Warning   string   // warning for the user, or ""
	SignedBy  string   // keys that signed it, where rules ask for signatures; "" otherwise

	private bool // it was pulled with credentials
}

// Fetcher puts images into the store. Its fields must not change once it is in use.
type Fetcher struct {
	Store    *unpack.Store
	Dir      string // base of relative oci:, docker-archive: and rootfs: paths; "" is the working directory
	Platform string // "" is this machine's
	Options  pull.Options
	Verify   signature.Rules                       // which images must be signed, beside the rules of the settings
	Unsaid   container.PullPolicy                  // of images that are asked for with the empty policy; "" is Missing
	Progress func(image string, p unpack.Progress) // called as layers arrive; may be nil
	Events   func(event.Event)                     // called for each pull event, by the goroutine that fetches; may be nil
	// AccessDir is a folder that notes which credentials get which images. Stored images that were
	// pulled with credentials are then used only if the registry gives them to those of Options;
	// "": whatever is stored is used.
	AccessDir string
	// Locked returns the digest that the lock file has for an image, as named by
	// LockName, or "" when it has none. A nil Locked means that there is no lock file.
	Locked func(image, platform string) digest.Digest

	known func(*ocispec.Image) // called with the configuration, before layers are fetched; may be nil
}

// For returns a fetcher for the platform; "" is the platform of f.
func (f *Fetcher) For(platform string) *Fetcher {
	other := *f
	other.Platform = cmp.Or(platform, f.Platform)
	return &other
}

// Fetch puts the image into the store. It takes an image that is stored whole
// without using the network if the policy allows, and asks the source otherwise.
// Images in folders and archives are always read again, since they change in
// place. The image cannot be removed from the store until the store is closed.
func (f *Fetcher) Fetch(ctx context.Context, reference string, policy container.PullPolicy) (*Image, error) {
	return f.report(reference, func(f *Fetcher) (*Image, error) { return f.chosen(ctx, reference, policy) })
}

// report calls fetch and sends the events of its start, progress and end.
func (f *Fetcher) report(image string, fetch func(*Fetcher) (*Image, error)) (*Image, error) {
	if f.Events == nil {
		return fetch(f)
	}
	began := time.Now()
	f.Events(event.Event{Kind: event.PullStarted, Time: began, Image: image})
	meter := newMeter(func(p event.Progress) {
		f.Events(event.Event{Kind: event.PullProgress, Time: time.Now(), Image: image, Progress: &p})
	})
	metered := *f
	metered.Progress = meter.tee(f.Progress)
	got, err := fetch(&metered)
	err = errors.Join(err, meter.end())
	end := event.Event{Kind: event.PullFinished, Time: time.Now(), Image: image, Duration: event.Millis(time.Since(began))}
	if err != nil {
		end.Error = err.Error()
	} else {
		end.Digest, end.SignedBy = got.Digest.String(), got.SignedBy
	}
	f.Events(end)
	return got, err
}

// chosen fetches the image by the digest of the lock file if there is one, and
// by its own reference otherwise.
func (f *Fetcher) chosen(ctx context.Context, reference string, policy container.PullPolicy) (*Image, error) {
	policy = cmp.Or(policy, f.Unsaid)
	ref, err := f.Parse(reference)
	if err != nil {
		return nil, err
	}
	if ref.Scheme == pull.SchemeRootfs {
		return f.rootfsImage(ref)
	}
	if locked := f.lockedTo(ref); locked != "" {
		return f.fetchLocked(ctx, ref, locked, policy)
	}
	image, err := f.fetch(ctx, ref, policy)
	if err == nil && f.Locked != nil && lockable(ref) {
		image.warn(fmt.Sprintf("image %s (%s) is not in the lock file (add it: stepexec lock)", ref, platform(f.Platform)))
	}
	return image, err
}

// fetch takes the stored image, unless the policy is Always and the registry has
// moved the tag to another image.
func (f *Fetcher) fetch(ctx context.Context, ref pull.Reference, policy container.PullPolicy) (*Image, error) {
	switch {
	case ref.IsEngines() && policy != container.PullNever:
		policy = container.PullAlways // what was built a moment ago is meant, and asking is cheap
	case ref.IsLocal() && !ref.IsEngines():
		return f.pull(ctx, ref)
	}
	image, root, err := f.stored(ctx, ref, policy)
	switch {
	case err != nil:
		return nil, err
	case image != nil && (policy != container.PullAlways || ref.Digest != ""):
		return image, f.allow(ctx, image, ref)
	case policy == container.PullNever:
		return nil, fmt.Errorf("image %s: %w (pull it first: stepexec pull %s)", ref, ErrNotPulled, ref)
	case image != nil && root != "":
		now, warnings, err := pull.Head(ctx, ref, f.Options)
		if err != nil {
			return nil, err
		}
		if now == root {
			image.warn(warnings...)
			return image, nil
		}
	}
	return f.pull(ctx, ref)
}

// fetchLocked fetches the image by its digest. It takes an image that was pulled
// by its tag, before it was locked, if the digests are equal.
func (f *Fetcher) fetchLocked(ctx context.Context, ref pull.Reference, locked digest.Digest, policy container.PullPolicy) (*Image, error) {
	tag := ref
	if policy != container.PullAlways {
		image, _, err := f.stored(ctx, tag, policy)
		if err != nil {
			return nil, err
		}
		if image != nil && image.Digest == locked {
			return image, f.allow(ctx, image, tag)
		}
	}
	ref.Digest = locked
	image, err := f.fetch(ctx, ref, policy)
	if errors.Is(err, pull.ErrNotFound) {
		return nil, fmt.Errorf("%w; this is the digest of the lock file (write it anew: stepexec lock)", err)
	}
	if err == nil && (image.Pulled || policy == container.PullAlways) {
		image.warn(f.moved(ctx, tag, locked))
	}
	return image, err
}

// warn appends to the image's warning.
func (i *Image) warn(texts ...string) {
	for _, text := range texts {
		if i.Warning != "" && text != "" {
			i.Warning += "; "
		}
		i.Warning += text
	}
}

// Parse parses a reference, whose path is relative to f.Dir. The reference in full, such as
// docker.io/library/golang:1.26, is the image's name in the store.
func (f *Fetcher) Parse(reference string) (pull.Reference, error) {
	ref, err := pull.ParseReference(reference)
	if err != nil || ref.Path == "" || filepath.IsAbs(ref.Path) {
		return ref, err
	}
	ref.Path, err = filepath.Abs(filepath.Join(f.Dir, ref.Path))
	return ref, err
}

// rootfsImage makes a directory an image without configuration.
func (f *Fetcher) rootfsImage(ref pull.Reference) (*Image, error) {
	path := ref.Path
	if f.Options.Place != nil {
		path = f.Options.Place(path).String()
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

// stored returns the image that an earlier pull has stored, or nil, and the
// digest that its name had then, or "" when that is not known.
func (f *Fetcher) stored(ctx context.Context, ref pull.Reference, policy container.PullPolicy) (image *Image, root digest.Digest, err error) {
	name := ref.String()
	if err := f.Store.Use(name, platform(f.Platform)); err != nil {
		return nil, "", err
	}
	record, err := f.Store.Image(name, platform(f.Platform))
	if errors.Is(err, unpack.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	lowerdirs, ok := f.Store.Lowerdirs(record.DiffIDs())
	if !ok {
		return nil, "", nil
	}
	evidence, key, err := f.signed(ctx, ref, record.Signatures, policy, record.Root, record.Manifest)
	if err != nil {
		return nil, "", err
	}
	if !reflect.DeepEqual(evidence, record.Signatures) { // what was kept did not satisfy the rules of today
		record.Signatures = evidence
		if err := f.Store.SaveImage(ctx, record); err != nil {
			return nil, "", err
		}
	}
	image = &Image{Name: name, Digest: record.Manifest, Platform: record.Platform, RawConfig: record.Config, Lowerdirs: lowerdirs, SignedBy: key, private: record.Private}
	if err := json.Unmarshal(record.Config, &image.Config); err != nil {
		return nil, "", fmt.Errorf("read the stored configuration of %s: %w", name, err)
	}
	return image, record.Root, nil
}

// pull fetches the image and records it.
func (f *Fetcher) pull(ctx context.Context, ref pull.Reference) (_ *Image, err error) {
	source, err := f.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	evidence, key, err := f.signed(ctx, ref, nil, container.PullAlways, source.Root, source.Digest)
	if err != nil {
		return nil, err // before anything of it is unpacked
	}
	image, err := f.keep(ctx, source, ref.String(), evidence)
	if err != nil {
		return nil, err
	}
	image.SignedBy = key
	if source.Private {
		f.remember(ctx, ref)
	}
	return image, nil
}

// keep unpacks the image and records it as name.
func (f *Fetcher) keep(ctx context.Context, source *pull.Image, name string, evidence []signature.Evidence) (*Image, error) {
	if err := f.Store.Use(name, platform(f.Platform)); err != nil {
		return nil, err
	}
	record := unpack.ImageRecord{
		Reference: name, Platform: platform(f.Platform), Root: source.Root, Manifest: source.Digest,
		Config: source.RawConfig, Pulled: time.Now().UTC(), Signatures: evidence, Private: source.Private,
	}
	var layers []unpack.Layer
	for _, layer := range source.Layers {
		layers = append(layers, unpack.Layer{
			DiffID: layer.DiffID, Digest: layer.Digest, Size: layer.Size, Open: layer.Open, Again: layer.Again,
		})
		record.Layers = append(record.Layers, unpack.RecordLayer{
			DiffID: layer.DiffID, Digest: layer.Digest, Size: layer.Size,
		})
	}
	if f.known != nil {
		f.known(&source.Config)
	}
	lowerdirs, err := f.unpack(ctx, name, layers)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", name, err)
	}
	if err := f.Store.SaveImage(ctx, record); err != nil {
		return nil, fmt.Errorf("pull %s: %w", name, err)
	}
	image := &Image{
		Name: name, Digest: source.Digest, Platform: source.Platform,
		Config: source.Config, RawConfig: source.RawConfig, Lowerdirs: lowerdirs, Pulled: true,
	}
	image.warn(source.Warnings()...)
	return image, nil
}

// unpack unpacks the missing layers.
func (f *Fetcher) unpack(ctx context.Context, name string, layers []unpack.Layer) ([]string, error) {
	var progress func(unpack.Progress)
	if f.Progress != nil {
		progress = func(p unpack.Progress) { f.Progress(name, p) }
	}
	return f.Store.Unpack(ctx, layers, progress)
}

func (f *Fetcher) resolve(ctx context.Context, ref pull.Reference) (*pull.Image, error) {
	options := f.Options
	options.Platform = f.Platform
	return pull.Resolve(ctx, ref, options)
}

// HostPlatform returns this machine's platform, which is the default of images.
func HostPlatform() string { return runtime.GOOS + "/" + runtime.GOARCH }

func platform(asked string) string { return cmp.Or(asked, HostPlatform()) }
