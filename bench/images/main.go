// Command images writes the images that bench/cold.sh pulls, as OCI layouts with the tag "latest":
//
//	images medium gzip|zstd DIR  package fixtures' Debian and Go's own source tree: small files
//	images many gzip|zstd DIR    busybox and 59 layers of 20 files of 4 KiB
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stepexec/stepexec/fixtures"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: images medium|many gzip|zstd DIR")
	}
	scratch, err := os.MkdirTemp("", "bench-images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var layers []fixtures.Layer
	switch args[0] {
	case "medium":
		layers, err = medium(ctx, scratch)
	case "many":
		layers, err = many(scratch)
	default:
		err = fmt.Errorf("there is no image %q", args[0])
	}
	if err != nil {
		return err
	}
	img, err := build(layers, compression.Compression(args[1]))
	if err != nil {
		return err
	}
	return fixtures.AddToLayout(args[2], "latest", img)
}

// build compresses as image builders do: gzip at level 6 and zstd at level 3. (Package fixtures compresses fast.)
func build(layers []fixtures.Layer, algorithm compression.Compression) (v1.Image, error) {
	level, media := 6, types.OCILayer
	if algorithm == compression.ZStd {
		level, media = 3, types.OCILayerZStd
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, open := range layers {
		layer, err := tarball.LayerFromOpener(tarball.Opener(open), tarball.WithCompression(algorithm),
			tarball.WithCompressionLevel(level), tarball.WithMediaType(media), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	return img, nil
}

func medium(ctx context.Context, scratch string) ([]fixtures.Layer, error) {
	layers, err := debian(ctx)
	if err != nil {
		return nil, err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	sources := filepath.Join(scratch, "sources.tar")
	tarSources := exec.CommandContext(ctx, "tar", "--sort=name", "--numeric-owner", "--owner=0", "--group=0",
		"--transform=s,^src,usr/src/go,", "-cf", sources, "-C", strings.TrimSpace(string(goroot)), "src")
	if out, err := tarSources.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tar Go's sources: %w: %s", err, out)
	}
	return append(layers, fixtures.TarFile(sources)), nil
}

func debian(ctx context.Context) ([]fixtures.Layer, error) {
	cached, err := fixtures.Debian(ctx, "")
	if err != nil {
		return nil, err
	}
	img, err := fixtures.FromLayout(cached, "latest")
	if err != nil {
		return nil, err
	}
	found, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var layers []fixtures.Layer
	for _, l := range found {
		layers = append(layers, l.Uncompressed)
	}
	return layers, nil
}

func many(scratch string) ([]fixtures.Layer, error) {
	if err := fixtures.Busybox(filepath.Join(scratch, "busybox")); err != nil {
		return nil, err
	}
	img, err := fixtures.FromLayout(filepath.Join(scratch, "busybox"), "latest")
	if err != nil {
		return nil, err
	}
	base, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var first bytes.Buffer // scratch is gone when the layer is read again
	if err := copyLayer(&first, base[0]); err != nil {
		return nil, err
	}
	layers := []fixtures.Layer{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(first.Bytes())), nil }}
	random := rand.NewChaCha8([32]byte{})
	for i := range 59 {
		var entries []fixtures.Entry
		for k := range 20 {
			data := make([]byte, 4096)
			if _, err := random.Read(data); err != nil {
				return nil, err
			}
			entries = append(entries, fixtures.File(fmt.Sprintf("opt/l%d/f%d", i, k), 0o644, string(data)))
		}
		dirs := []fixtures.Entry{fixtures.Dir("opt", 0o755), fixtures.Dir(fmt.Sprintf("opt/l%d", i), 0o755)}
		layers = append(layers, fixtures.Tar(append(dirs, entries...)...))
	}
	return layers, nil
}

func copyLayer(w io.Writer, l v1.Layer) (err error) {
	r, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}
