package pull_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ggcrlayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
)

// skopeo copies an image between two places, all platforms of it.
func skopeo(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--quiet", "--all", from, to).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy %s %s: %v\n%s", from, to, err, out)
	}
}

// ociImage returns a random image with the OCI's media types. skopeo finds no others in a layout.
func ociImage(t *testing.T, layers int64) v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(platformImage(t, "linux/amd64", layers), types.OCIManifestSchema1), types.OCIConfigJSON)
}

// writeDir has skopeo write the image as a folder.
func writeDir(t *testing.T, image v1.Image) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "dir:1") // a colon belongs to the path
	skopeo(t, "oci:"+writeLayout(t, map[string]v1.Image{"x": image})+":x", "dir:"+dir)
	return dir
}

func TestResolveFromAFolderOfSkopeo(t *testing.T) {
	image := ociImage(t, 3)
	dir := writeDir(t, image)
	img := mustResolve(t, "dir:"+dir, amd64)
	checkImage(t, img, image)
	if img.Name != "dir:"+dir || img.Platform != "linux/amd64" || img.Root != img.Digest {
		t.Errorf("name %q, platform %q, root %s", img.Name, img.Platform, img.Root)
	}
	wantText(t, resolveError(t, "dir:"+dir, pull.Options{Platform: "linux/arm64"}), "no image for linux/arm64 (there is linux/amd64)")
}

func TestResolveFromAFolderOfSkopeoWithSeveralPlatforms(t *testing.T) {
	layout := filepath.Join(t.TempDir(), "layout")
	l, err := ggcrlayout.Write(layout, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	name := ggcrlayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "x"})
	if err := l.AppendIndex(platformIndex(t, "linux/arm64", "linux/amd64"), name); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dir")
	skopeo(t, "oci:"+layout+":x", "dir:"+dir)
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img := mustResolve(t, "dir:"+dir, pull.Options{Platform: platform})
		if img.Platform != platform || img.Root == img.Digest {
			t.Errorf("want %s, got %s of %s", platform, img.Digest, img.Platform)
		}
		for _, layer := range img.Layers {
			stream, err := layer.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := digest.FromReader(stream)
			if err := errors.Join(err, stream.Close()); err != nil || got != layer.Digest {
				t.Errorf("layer %s has digest %s: %v", layer.Digest, got, err)
			}
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	instances, err := filepath.Glob(filepath.Join(dir, "*.manifest.json"))
	if err != nil || len(instances) < 2 {
		t.Fatalf("%q, %v, of %s", instances, err, index)
	}
	for _, file := range instances {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := resolveError(t, "dir:"+dir, amd64); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("manifests of the platforms are missing: %v", err)
	}
}

// TestHostileFoldersOfSkopeo changes one file of a good folder.
func TestHostileFoldersOfSkopeo(t *testing.T) {
	image := ociImage(t, 1)
	config, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) func(string) error {
		return func(file string) error { return os.WriteFile(file, []byte(text), 0o600) }
	}
	link := func(file string) error { return errors.Join(os.Remove(file), os.Symlink("/etc/hostname", file)) }
	for name, c := range map[string]struct {
		file   string
		change func(string) error
		want   string
	}{
		"no manifest":            {"manifest.json", os.Remove, "it has no file manifest.json"},
		"manifest of docker":     {"manifest.json", write(`[{"Config":"x","RepoTags":null,"Layers":[]}]`), "not valid JSON"},
		"manifest leads outside": {"manifest.json", link, "escapes"},
		"config leads outside":   {config.Hex, link, "escapes"},
		"config is changed":      {config.Hex, write(`{}`), "bytes long"},
		"config is missing":      {config.Hex, os.Remove, "does not have it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeDir(t, image)
			if err := c.change(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			wantText(t, resolveError(t, "dir:"+dir, amd64), c.want)
		})
	}
	t.Run("layer is cut off", func(t *testing.T) {
		dir := writeDir(t, image)
		img := mustResolve(t, "dir:"+dir, amd64)
		if err := os.Truncate(filepath.Join(dir, img.Layers[0].Digest.Encoded()), 5); err != nil {
			t.Fatal(err)
		}
		_, err := img.Layers[0].Open(t.Context())
		wantText(t, err, "it has 5 bytes")
	})
	t.Run("a layout is another kind of folder", func(t *testing.T) {
		layout := writeLayout(t, map[string]v1.Image{"": image})
		wantText(t, resolveError(t, "dir:"+layout, amd64), "it has no file manifest.json", "oci:DIR")
		wantText(t, resolveError(t, "oci:"+writeDir(t, image), amd64), "no such folder") // the colon
	})
}

func TestLayersOfAFolderOfSkopeo(t *testing.T) {
	image := ociImage(t, 2)
	img := mustResolve(t, "dir:"+writeDir(t, image), amd64)
	for _, layer := range img.Layers {
		stream, err := layer.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, stream)
		if err := errors.Join(err, stream.Close()); err != nil || n != layer.Size {
			t.Errorf("%d of %d bytes: %v", n, layer.Size, err)
		}
	}
}
