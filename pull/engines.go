package pull

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
)

// engine is a program of this machine that has its own images. Images are requested by name and
// arrive as archives in the format of `docker save`.
type engine interface {
	// id returns the digest by which the engine identifies the image. It changes with the image.
	id(ctx context.Context, name string) (digest.Digest, error)
	// export writes an archive of the image.
	export(ctx context.Context, name string, to *os.File) error
}

func (r Reference) engine() engine {
	if r.Scheme == SchemeDockerDaemon {
		return dockerDaemon{socket: DockerSocket()}
	}
	return containersStorage{}
}

// engineName matches an engine's image names and IDs. They cannot begin with a dash, because podman
// would take that for a flag.
var engineName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*(:[A-Za-z0-9._-]+|:[0-9]+/[A-Za-z0-9._/-]+(:[A-Za-z0-9._-]+)?)?(@sha256:[a-f0-9]{64})?$`)
})

func parseEngine(scheme Scheme, name string) (Reference, error) {
	if !engineName().MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, "//") { // it becomes part of a URL
		return Reference{}, fmt.Errorf("%q is not the name of an image (write it like %s:app:1, or %s:sha256:ID)", name, scheme, scheme)
	}
	return Reference{Scheme: scheme, Name: name}, nil
}

func resolveEngine(ctx context.Context, ref Reference, want ocispec.Platform) (*Image, error) {
	id, err := ref.engine().id(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	path, release, err := Export(ctx, ref)
	if err != nil {
		return nil, err
	}
	img, err := resolveDockerArchive(Reference{Scheme: SchemeDockerArchive, Path: path}, beneath.At(path), want)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	img.Root = id
	closeArchive := img.close
	img.close = func() error { return errors.Join(closeArchive(), release()) }
	return img, nil
}

// Export writes an archive of an image from docker's daemon or podman's storage to an unnamed
// temporary file. Open it at path, and call release when the archive is no longer used.
func Export(ctx context.Context, ref Reference) (path string, release func() error, err error) {
	file, err := nameless()
	if err != nil {
		return "", nil, err
	}
	if err := ref.engine().export(ctx, ref.Name, file); err != nil {
		return "", nil, errors.Join(err, file.Close())
	}
	return fmt.Sprintf("/proc/self/fd/%d", file.Fd()), file.Close, nil
}
