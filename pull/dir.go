package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
)

// dir is an image in a folder, as `skopeo copy IMAGE dir:DIR` writes it (containers-transports(5),
// "dir:path"): manifest.json is the manifest or index, HEX.manifest.json a manifest that an index
// lists, and HEX a configuration or a layer.
type dir struct{ files }

func openDir(path beneath.Path) (*dir, error) {
	f, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	return &dir{f}, nil
}

// roots returns the descriptor of manifest.json.
func (d *dir) roots(context.Context) ([]ocispec.Descriptor, error) {
	raw, err := d.top()
	if err != nil {
		return nil, err
	}
	return []ocispec.Descriptor{{Digest: digest.FromBytes(raw), Size: int64(len(raw))}}, nil
}

func (d *dir) top() ([]byte, error) {
	raw, err := readFile(d.files, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it is not an image as skopeo writes it: it has no file manifest.json (a folder with a file oci-layout is oci:DIR)")
	}
	return raw, err
}

func (d *dir) manifest(_ context.Context, want ocispec.Descriptor) ([]byte, error) {
	raw, err := d.top()
	if err != nil || digest.FromBytes(raw) == want.Digest {
		return raw, err
	}
	return readDocument(d.files, want.Digest.Encoded()+".manifest.json")
}

func (d *dir) config(_ context.Context, want ocispec.Descriptor) ([]byte, error) {
	return readDocument(d.files, want.Digest.Encoded())
}

func (d *dir) blob(ctx context.Context, want ocispec.Descriptor) (io.ReadCloser, error) {
	return openBlob(ctx, d.files, want.Digest.Encoded(), want.Size)
}

// readDocument reads a manifest or a configuration of at most maxDocument bytes.
func readDocument(f files, name string) ([]byte, error) {
	raw, err := readFile(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notHere()
	}
	return raw, err
}

// openBlob opens a layer, which must have want bytes.
func openBlob(ctx context.Context, f files, name string, want int64) (io.ReadCloser, error) {
	file, size, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notHere()
	}
	if err != nil {
		return nil, err
	}
	if size != want {
		err := fmt.Errorf("it has %d bytes, its descriptor says %d", size, want)
		return nil, errors.Join(err, file.Close())
	}
	return &cancellable{file, ctx}, nil
}

func notHere() error { return &failure{"the folder or archive does not have it", ErrNotFound} }
