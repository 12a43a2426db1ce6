package demo

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// shellPath is where an image has its shell.
const shellPath = "/bin/sh"

// writeImage writes an OCI image layout with an image of one layer, which holds a program.
func writeImage(root *os.Root, program string) error {
	layer, dynamic, err := layerOf(program)
	if err != nil {
		return err
	}
	platform := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	config := ocispec.Image{
		Platform: platform,
		Config:   ocispec.ImageConfig{Env: []string{"PATH=/bin"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	}
	if dynamic {
		config.Config.Env = append(config.Config.Env, "LD_LIBRARY_PATH=/lib")
	}
	w := layoutWriter{root: root}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: w.json(ocispec.MediaTypeImageConfig, config),
		Layers: []ocispec.Descriptor{w.blob(ocispec.MediaTypeImageLayer, layer)},
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{w.json(ocispec.MediaTypeImageManifest, manifest)},
	}
	w.file(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	w.file(ocispec.ImageIndexFile, index)
	return errors.Join(w.errs...)
}

// layerOf returns a layer with a program as /bin/stepexec and /bin/sh. A program that is linked
// dynamically comes with its libraries.
func layerOf(program string) (layer []byte, dynamic bool, err error) {
	files := map[string]string{"bin/stepexec": program}
	order := []string{"bin/stepexec"}
	libraries, loader, err := linkedWith(program)
	if err != nil {
		return nil, false, err
	}
	if loader != "" {
		name := path.Clean(loader)[1:]
		files[name], order = loader, append(order, name)
	}
	for _, library := range libraries {
		name := "lib/" + filepath.Base(library)
		if files[name] == "" {
			files[name], order = library, append(order, name)
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range order {
		content, err := os.ReadFile(files[name])
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))})
		}
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			return nil, false, err
		}
	}
	err = errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: shellPath[1:], Linkname: "stepexec", Mode: 0o777}), w.Close())
	return out.Bytes(), loader != "", err
}

// linkedWith returns the shared libraries of a program and its loader, or nothing.
func linkedWith(program string) (libraries []string, loader string, err error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		text := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(text, 0); err != nil {
			return nil, "", err
		}
		loader = string(bytes.TrimRight(text, "\x00"))
	}
	if loader == "" {
		return nil, "", nil
	}
	names, err := file.ImportedLibraries()
	if err != nil {
		return nil, "", err
	}
	for _, name := range names {
		library, err := findLibrary(name, loader)
		if err != nil {
			return nil, "", err
		}
		libraries = append(libraries, library)
	}
	return libraries, loader, nil
}

// findLibrary looks for a library where loaders do (ld.so(8)), and beside the loader.
func findLibrary(name, loader string) (string, error) {
	dirs := []string{filepath.Dir(loader)}
	if target, err := filepath.EvalSymlinks(loader); err == nil {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib") {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("this stepexec needs the library %s, which is not found (build it with CGO_ENABLED=0, which needs no libraries)", name)
}

// layoutWriter writes the files of an OCI image layout (image-spec, image-layout.md).
type layoutWriter struct {
	root *os.Root
	errs []error
}

func (w *layoutWriter) blob(mediaType string, content []byte) ocispec.Descriptor {
	sum := digest.FromBytes(content)
	w.write(filepath.Join(ocispec.ImageBlobsDir, sum.Algorithm().String(), sum.Encoded()), content)
	return ocispec.Descriptor{MediaType: mediaType, Digest: sum, Size: int64(len(content))}
}

func (w *layoutWriter) json(mediaType string, document any) ocispec.Descriptor {
	content, err := json.Marshal(document)
	w.errs = append(w.errs, err)
	return w.blob(mediaType, content)
}

func (w *layoutWriter) file(name string, document any) {
	content, err := json.Marshal(document)
	w.errs = append(w.errs, err)
	w.write(name, content)
}

func (w *layoutWriter) write(name string, content []byte) {
	file := filepath.Join(imageName, name)
	w.errs = append(w.errs, w.root.MkdirAll(filepath.Dir(file), 0o755), w.root.WriteFile(file, content, 0o644))
}
