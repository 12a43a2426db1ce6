package mutate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stepexec/stepexec/foreign/apply"
	"github.com/stepexec/stepexec/unpack"
)

// Extract takes the place of go-containerregistry's own function.
func Extract(img v1.Image) io.ReadCloser {
	tree, err := treeOf(img)
	if err == nil {
		err = io.EOF
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(tree), &failing{err}))
}

// comparable makes any image one that can be the key of a map, as package tarball needs it.
type comparable struct{ v1.Image }

// failing is a reader that has nothing but an error.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func treeOf(img v1.Image) (tree []byte, err error) {
	dir, err := os.MkdirTemp("", "foreign-archive-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "image.tar")
	if err := tarball.WriteToFile(file, name.MustParseReference("foreign:1"), &comparable{img}); err != nil {
		return nil, err
	}
	tree, err = apply.Image(context.Background(), "docker-archive:"+file)
	if refused := new(unpack.EntryError); errors.As(err, &refused) {
		err = fmt.Errorf("unsafe tar path: %w", err) // the tests look for these words
	}
	return tree, err
}
