package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/archive"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// stored is a store with an image, and the image as it was pulled.
func stored(t *testing.T, layers ...fixtures.Layer) (*unpack.Store, archive.Image, *pull.Image) {
	t.Helper()
	dir := t.TempDir()
	image := fixtures.Image{Layers: layers}
	if err := image.WriteLayout(dir, "latest"); err != nil {
		t.Fatal(err)
	}
	pulled, err := pull.Resolve(t.Context(), parsed(t, "oci:"+dir), pull.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := unpack.OpenStore(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), pulled.Close()); err != nil {
			t.Error(err)
		}
	})
	record := unpack.ImageRecord{Reference: "example.com/app:1", Config: pulled.RawConfig}
	var all []unpack.Layer
	for _, l := range pulled.Layers {
		all = append(all, unpack.Layer{DiffID: l.DiffID, Digest: l.Digest, Size: l.Size, Open: l.Open})
		record.Layers = append(record.Layers, unpack.RecordLayer{DiffID: l.DiffID})
	}
	if _, err := store.Unpack(t.Context(), all, nil); err != nil {
		t.Fatal(err)
	}
	return store, archive.Image{ImageRecord: record, Names: []string{"example.com/app:1"}}, pulled
}

func layers() []fixtures.Layer {
	return []fixtures.Layer{
		fixtures.Tar(fixtures.Dir("a", 0o755), fixtures.File("a/b", 0o644, "text"), fixtures.File("a/c", 0o4755, "more")),
		fixtures.Tar(fixtures.File("d", 0o600, string(bytes.Repeat([]byte("0123456789"), 100_000)))),
	}
}

func write(t *testing.T, store *unpack.Store, compression archive.Compression, images ...archive.Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "saved.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Write(t.Context(), store, images, compression, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOtherReadersFindTheImageThatWasPulled(t *testing.T) {
	store, image, pulled := stored(t, layers()...)
	for _, compression := range []archive.Compression{archive.Gzip, archive.Zstd, archive.None} {
		t.Run(string(compression), func(t *testing.T) {
			file := write(t, store, compression, image)
			for _, c := range []struct {
				name string
				open func() (v1.Image, error)
			}{
				{"as an OCI layout", func() (v1.Image, error) { return fromLayout(t, file) }},
				{"as docker load reads it", func() (v1.Image, error) { return tarball.ImageFromPath(file, nil) }},
			} {
				got, err := c.open()
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				// Names of configurations and layers are digests: validate computes them all.
				if err := validate.Image(got); err != nil && compression == archive.Gzip { // it takes all layers for gzip
					t.Errorf("%s: %v", c.name, err)
				}
				config, err := got.RawConfigFile()
				if err != nil || !bytes.Equal(config, pulled.RawConfig) {
					t.Errorf("%s: another configuration, or error %v", c.name, err)
				}
			}
			again, err := pull.Resolve(t.Context(), parsed(t, "oci-archive:"+file), pull.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			for i, layer := range again.Layers {
				if err := sameBytes(t, layer, pulled.Layers[i].DiffID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func fromLayout(t *testing.T, file string) (v1.Image, error) {
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", file, "-C", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if name := manifest.Manifests[0].Annotations["io.containerd.image.name"]; name != "example.com/app:1" {
		return nil, fmt.Errorf("the image is called %q", name)
	}
	return index.Image(manifest.Manifests[0].Digest)
}

// sameBytes unpacks the layer elsewhere, which verifies both of its digests.
func sameBytes(t *testing.T, layer pull.Layer, diffID digest.Digest) error {
	store, err := unpack.OpenStore(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		return err
	}
	_, err = store.Unpack(t.Context(), []unpack.Layer{{DiffID: diffID, Digest: layer.Digest, Size: layer.Size, Open: layer.Open}}, nil)
	return errors.Join(err, store.Close())
}

func TestImagesShareLayersAndEqualImagesMakeEqualArchives(t *testing.T) {
	store, image, _ := stored(t, layers()...)
	other := image
	other.Names = []string{"example.com/other:2", "example.com/other:3"}
	one, both := write(t, store, archive.Gzip, image), write(t, store, archive.Gzip, image, other)
	if grown := size(t, both) - size(t, one); grown > 4096 {
		t.Errorf("the same image under other names adds %d bytes", grown)
	}
	if sum(t, one) != sum(t, write(t, store, archive.Gzip, image)) {
		t.Error("the same image makes another archive")
	}
	names, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(both) })
	if err != nil || len(names) != 2 || len(names[1].RepoTags) != 2 {
		data, _ := json.Marshal(names)
		t.Errorf("docker finds %s, error %v", data, err)
	}
}

func TestWhatCannotBeSavedIsAnError(t *testing.T) {
	twice := fixtures.Tar(fixtures.File("a", 0o644, "first"), fixtures.File("a", 0o644, "second"))
	store, image, _ := stored(t, twice)
	if err := archive.Write(t.Context(), store, []archive.Image{image}, archive.None, io.Discard); !errors.Is(err, unpack.ErrNoRecipe) {
		t.Errorf("a file twice: got error %v", err)
	}
	image.Layers[0].DiffID = digest.FromString("gone")
	if err := archive.Write(t.Context(), store, []archive.Image{image}, archive.None, io.Discard); !errors.Is(err, unpack.ErrNotFound) {
		t.Errorf("a layer that is gone: got error %v", err)
	}
	store, image, _ = stored(t, layers()...)
	full := errors.New("full")
	if err := archive.Write(t.Context(), store, []archive.Image{image}, archive.Gzip, failing{full}); !errors.Is(err, full) {
		t.Errorf("a writer that fails: got error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func sum(t *testing.T, file string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// parsed parses an image reference.
func parsed(t *testing.T, s string) pull.Reference {
	t.Helper()
	ref, err := pull.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
