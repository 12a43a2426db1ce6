package pull_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ggcrlayout "github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/stepexec/stepexec/pull"
)

var amd64 = pull.Options{Platform: "linux/amd64"}

// writeLayout writes an OCI layout with these images; "" is one without a name.
func writeLayout(t *testing.T, images map[string]v1.Image) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "layout")
	l, err := ggcrlayout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for tag, image := range images {
		var options []ggcrlayout.Option
		if tag != "" {
			options = append(options, ggcrlayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag}))
		}
		if err := l.AppendImage(image, options...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archiveOf writes the files of a folder as a tar.
func archiveOf(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "image.tar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := tar.NewWriter(out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestResolveFromLayout(t *testing.T) {
	image := platformImage(t, "linux/amd64", 3)
	dir := writeLayout(t, map[string]v1.Image{"v1": image})
	for name, ref := range map[string]string{
		"folder": "oci:" + dir, "archive": "oci-archive:" + archiveOf(t, dir),
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := image.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			for _, ref := range []string{ref, ref + ":v1", ref + "@" + digestOf(raw)} {
				img := mustResolve(t, ref, amd64)
				checkImage(t, img, image)
				if img.Name != ref || img.Platform != "linux/amd64" {
					t.Errorf("name %q, platform %q", img.Name, img.Platform)
				}
			}
			err = resolveError(t, ref, pull.Options{Platform: "linux/arm64"})
			wantText(t, err, "no image for linux/arm64 (there is linux/amd64)")
			err = resolveError(t, ref+":v2", amd64)
			wantText(t, err, `no such tag "v2" (there is "v1")`)
			if !errors.Is(err, pull.ErrNotFound) {
				t.Errorf("%v is not ErrNotFound", err)
			}
			err = resolveError(t, ref+"@"+string(absent), amd64)
			wantText(t, err, "no such manifest")
		})
	}
}

func TestLayoutTags(t *testing.T) {
	one, two := platformImage(t, "linux/amd64", 1), platformImage(t, "linux/amd64", 1)
	for _, c := range []struct {
		name   string
		images map[string]v1.Image
		tag    string
		want   v1.Image
		err    string
	}{
		{"no tag is latest", map[string]v1.Image{"latest": one, "v2": two}, "", one, ""},
		{"no tag and no latest", map[string]v1.Image{"v1": one, "v2": two}, "", nil, `several images: add a tag (there is "v1", "v2")`},
		{"full name", map[string]v1.Image{"docker.io/library/a:1": one, "b:1": two}, ":docker.io/library/a:1", one, ""},
		{"short for a full name", map[string]v1.Image{"docker.io/library/a:1": one, "b:1": two}, ":a:1", one, ""},
		{"tag of a full name", map[string]v1.Image{"docker.io/library/a:1": one, "b:2": two}, ":1", one, ""},
		{"ambiguous", map[string]v1.Image{"a:1": one, "b:1": two}, ":1", nil, `fits several images ("a:1", "b:1")`},
		{"empty layout", nil, "", nil, "the layout is empty"},
		{"empty layout with a tag", nil, ":v1", nil, "the layout is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := "oci:" + writeLayout(t, c.images) + c.tag
			if c.err != "" {
				wantText(t, resolveError(t, ref, amd64), c.err)
				return
			}
			checkImage(t, mustResolve(t, ref, amd64), c.want)
		})
	}
}

func TestLayoutOfSeveralPlatforms(t *testing.T) {
	arm, amd := platformImage(t, "linux/arm64", 1), platformImage(t, "linux/amd64", 1)
	t.Run("beside each other", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "l")
		l, err := ggcrlayout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range []v1.Image{arm, amd} {
			if err := l.AppendImage(image); err != nil {
				t.Fatal(err)
			}
		}
		checkImage(t, mustResolve(t, "oci:"+dir, amd64), amd)
	})
	t.Run("in an index, one by its digest", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "l")
		l, err := ggcrlayout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		index := platformIndex(t, "linux/arm64", "linux/amd64")
		if err := l.AppendIndex(index); err != nil {
			t.Fatal(err)
		}
		img := mustResolve(t, "oci:"+dir, amd64)
		if img.Platform != "linux/amd64" {
			t.Errorf("got %s", img.Platform)
		}
		if again := mustResolve(t, "oci:"+dir+"@"+img.Digest.String(), amd64); again.Digest != img.Digest {
			t.Errorf("got %s, want %s", again.Digest, img.Digest)
		}
	})
}

// TestHostileLayouts changes one file of a good layout.
func TestHostileLayouts(t *testing.T) {
	image := platformImage(t, "linux/amd64", 1)
	manifest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(to string) func(string) error {
		return func(file string) error { return errors.Join(os.Remove(file), os.Symlink(to, file)) }
	}
	content := func(text string) func(string) error {
		return func(file string) error {
			return errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte(text), 0o600))
		}
	}
	flip := func(file string) error {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		raw[len(raw)/2] ^= 1
		return content(string(raw))(file)
	}
	for _, c := range []struct {
		name, file string
		change     func(file string) error
		want       string
	}{
		{"oci-layout missing", "oci-layout", os.Remove, "not an OCI image layout: it has no file oci-layout"},
		{"oci-layout is not JSON", "oci-layout", content("x"), "oci-layout is not valid"},
		{"version", "oci-layout", content(`{"imageLayoutVersion":"2.0.0"}`), `version "2.0.0" is unknown`},
		{"index.json missing", "index.json", os.Remove, "it has no file index.json"},
		{"index.json is not JSON", "index.json", content("x"), "file index.json"},
		{"index.json leads outside", "index.json", link(outside), "escapes"},
		{"index.json names a path", "index.json", content(`{"schemaVersion":2,"manifests":[{"mediaType":"` + ociManifest + `","digest":"sha256:../../../outside","size":2}]}`), "not a sha256 digest"},
		{"manifest changed", "blobs/sha256/" + manifest.Hex, flip, "digest"},
		{"manifest truncated", "blobs/sha256/" + manifest.Hex, func(f string) error { return os.Truncate(f, 10) }, "bytes long"},
		{"manifest missing", "blobs/sha256/" + manifest.Hex, os.Remove, "does not have it"},
		{"manifest leads outside", "blobs/sha256/" + manifest.Hex, link(outside), "escapes"},
		{"manifest is a folder", "blobs/sha256/" + manifest.Hex, func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) }, "not a regular file"},
		{"manifest is a FIFO", "blobs/sha256/" + manifest.Hex, func(f string) error { return errors.Join(os.Remove(f), syscall.Mkfifo(f, 0o600)) }, "not a regular file"},
		{"manifest is huge", "blobs/sha256/" + manifest.Hex, func(f string) error { return os.Truncate(f, 9<<20) }, "larger than 8 MiB"},
		{"config changed", "blobs/sha256/" + config.Hex, flip, "digest"},
		{"config missing", "blobs/sha256/" + config.Hex, os.Remove, "does not have it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeLayout(t, map[string]v1.Image{"": image})
			if err := c.change(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			wantText(t, resolveError(t, "oci:"+dir, amd64), c.want)
		})
	}
}

func TestLayersOfALayout(t *testing.T) {
	image := platformImage(t, "linux/amd64", 1)
	dir := writeLayout(t, map[string]v1.Image{"": image})
	img := mustResolve(t, "oci:"+dir, amd64)

	ctx, cancel := context.WithCancel(t.Context())
	stream, err := img.Layers[0].Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	cancel()
	if _, err := io.ReadAll(stream); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}

	blob := filepath.Join(dir, "blobs/sha256", img.Layers[0].Digest.Encoded())
	if err := os.Truncate(blob, 3); err != nil {
		t.Fatal(err)
	}
	_, err = img.Layers[0].Open(t.Context())
	wantText(t, err, "layer "+img.Layers[0].Digest.String(), "has 3 bytes")
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if _, err = img.Layers[0].Open(t.Context()); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("missing layer: %v", err)
	}
}

func TestMissingFilesAndFolders(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref, want string
		notFound  bool
	}{
		{"oci:" + dir + "/none", "no such folder", true},
		{"oci-archive:" + dir + "/none", "no such file", true},
		{"docker-archive:" + dir + "/none", "no such file", true},
		{"oci:" + file, "a file, not a folder", false},
		{"oci:" + fifo, "a file, not a folder", false},
		{"oci:" + dir, "not an OCI image layout", false},
		{"oci-archive:" + dir, "not a regular file", false},
		{"oci-archive:" + fifo, "not a regular file", false},
		{"oci-archive:" + file, "not a tar archive", false},
		{"docker-archive:" + file, "not a tar archive", false},
		{"docker-archive:" + archiveOf(t, writeLayout(t, nil)), "not a docker archive", false},
	} {
		err := resolveError(t, c.ref, amd64)
		wantText(t, err, "pull "+c.ref+": ", c.want)
		if errors.Is(err, pull.ErrNotFound) != c.notFound {
			t.Errorf("%v: ErrNotFound is %v", err, !c.notFound)
		}
	}
}

func TestCompressedArchiveIsReadAsWhatItHolds(t *testing.T) {
	plain, err := os.ReadFile(archiveOf(t, writeLayout(t, map[string]v1.Image{"": platformImage(t, "linux/amd64", 1)})))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar.gz")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := gzip.NewWriter(out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	mustResolve(t, "oci-archive:"+file, amd64)
	wantText(t, resolveError(t, "docker-archive:"+file, amd64), "it has no file manifest.json")
}
