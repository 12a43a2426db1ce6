package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
)

// files provides the files of a layout: from a folder or a tar archive. Names are slash-separated
// and relative.
type files interface {
	// open returns a regular file and its size in bytes. The error of a file that
	// does not exist wraps fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// layout is an OCI image layout (image-spec, image-layout.md) as a place.
type layout struct {
	files
	ref Reference
}

func openLayoutFolder(ref Reference, path beneath.Path) (*layout, error) {
	f, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	return newLayout(f, ref)
}

func openLayoutArchive(ref Reference, path beneath.Path) (*layout, error) {
	f, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	return newLayout(f, ref)
}

// newLayout checks that the files are a layout, and closes them if they are not.
func newLayout(f files, ref Reference) (*layout, error) {
	if err := checkLayout(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &layout{files: f, ref: ref}, nil
}

func checkLayout(f files) error {
	raw, err := readFile(f, ocispec.ImageLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is not an OCI image layout: it has no file oci-layout")
	}
	if err != nil {
		return err
	}
	var header ocispec.ImageLayout
	if err := json.Unmarshal(raw, &header); err != nil {
		return fmt.Errorf("file oci-layout is not valid: %w", err)
	}
	if header.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("OCI image layout version %q is unknown (want %s)", header.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// readFile reads a document of at most maxDocument bytes.
func readFile(f files, name string) ([]byte, error) {
	file, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	if size > maxDocument {
		return nil, errors.Join(fmt.Errorf("file %s: %w", name, errTooLarge), file.Close())
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxDocument))
	return raw, errors.Join(err, file.Close())
}

// roots returns the entries of index.json that the reference means.
func (l *layout) roots(context.Context) ([]ocispec.Descriptor, error) {
	entries, err := l.entries()
	if err != nil {
		return nil, err
	}
	if l.ref.Digest != "" {
		return l.byDigest(entries)
	}
	return byTag(entries, l.ref.Tag)
}

// entries returns the entries of index.json.
func (l *layout) entries() ([]ocispec.Descriptor, error) {
	raw, err := readFile(l.files, ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it is not an OCI image layout: it has no file index.json")
	}
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(ocispec.MediaTypeImageIndex, raw)
	if err != nil {
		return nil, fmt.Errorf("file index.json: %w", err)
	}
	return doc.index.Manifests, nil
}

// byDigest finds a manifest in index.json, or in an index of the layout.
func (l *layout) byDigest(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	i := slices.IndexFunc(entries, func(d ocispec.Descriptor) bool { return d.Digest == l.ref.Digest })
	if i >= 0 {
		return entries[i : i+1], nil
	}
	file, size, err := l.open(blobName(l.ref.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{"the layout has no such manifest", ErrNotFound}
	}
	if err != nil {
		return nil, err
	}
	return []ocispec.Descriptor{{Digest: l.ref.Digest, Size: size}}, file.Close()
}

// byTag returns the entries of index.json with that tag. Without a tag, it returns all of them if
// they are one image (possibly for several platforms), otherwise those with the tag "latest".
func byTag(entries []ocispec.Descriptor, tag string) ([]ocispec.Descriptor, error) {
	if len(entries) == 0 {
		return nil, &failure{"the layout is empty", ErrNotFound}
	}
	wanted := tag
	if tag == "" {
		if sameTag(entries) {
			return entries, nil
		}
		wanted = "latest"
	}
	var found []ocispec.Descriptor
	for _, d := range entries {
		if slices.ContainsFunc(entryNames(d), func(name string) bool { return tagMatches(name, wanted) }) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) > 0 && sameTag(found):
		return found, nil
	case len(found) > 0:
		return nil, fmt.Errorf("tag %q fits several images (%s): give the name in full", wanted, listed(tagsOf(found)))
	case tag == "":
		return nil, fmt.Errorf("the layout has several images: add a tag (there is %s)", listed(tagsOf(entries)))
	}
	return nil, &failure{fmt.Sprintf("no such tag %q (there is %s)", tag, listed(tagsOf(entries))), ErrNotFound}
}

// containerdName is the annotation in which containerd and docker store an image's full name; the
// specification's own annotation then has only the tag.
const containerdName = "io.containerd.image.name"

// entryNames returns the names of an entry of index.json.
func entryNames(d ocispec.Descriptor) []string {
	var names []string
	for _, key := range []string{ocispec.AnnotationRefName, containerdName} {
		if name := d.Annotations[key]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// sameTag reports whether all entries have the same names, so that they can differ only in their
// platform.
func sameTag(entries []ocispec.Descriptor) bool {
	first := entryNames(entries[0])
	return !slices.ContainsFunc(entries, func(d ocispec.Descriptor) bool {
		return !slices.Equal(entryNames(d), first)
	})
}

func tagsOf(entries []ocispec.Descriptor) []string {
	var tags []string
	for _, d := range entries {
		for _, name := range entryNames(d) {
			tags = append(tags, fmt.Sprintf("%q", name))
		}
	}
	return tags
}

// tagMatches reports whether tag means an image called name: it is the same text, the same image
// reference, or the tag of the full reference.
func tagMatches(name, tag string) bool {
	if name == tag || !strings.Contains(tag, "/") && strings.HasSuffix(name, ":"+tag) {
		return true
	}
	a, errA := ParseReference(name)
	b, errB := ParseReference(tag)
	return errA == nil && errB == nil && a == b
}

// blobName returns the path of a blob. The caller has checked the digest against digestPattern,
// because a digest like sha256:../../x would lead to any file.
func blobName(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (l *layout) manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	return readDocument(l.files, blobName(d.Digest))
}

func (l *layout) config(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	return readDocument(l.files, blobName(d.Digest))
}

func (l *layout) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return openBlob(ctx, l.files, blobName(d.Digest), d.Size)
}

// cancellable is a stream that ends at the next read once its context is done, whatever is
// buffered.
type cancellable struct {
	io.ReadCloser
	ctx context.Context
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.ReadCloser.Read(p)
}
