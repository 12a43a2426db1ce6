package lockfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Images are the locked images: name in full, such as docker.io/library/golang:1.26, then platform, such as
// linux/amd64, then the digest of the manifest for that platform.
type Images map[string]map[string]digest.Digest

// version of the format. Another one is refused rather than half understood.
const version = 1

// Path returns where the lock file of a pipeline file is: beside it, under its name, with the ending .lock.
func Path(pipelineFile string) string {
	return strings.TrimSuffix(pipelineFile, filepath.Ext(pipelineFile)) + ".lock"
}

// Set locks an image.
func (i Images) Set(image, platform string, d digest.Digest) {
	if i[image] == nil {
		i[image] = map[string]digest.Digest{}
	}
	i[image][platform] = d
}

// Platforms returns all platforms for which an image is locked, sorted.
func (i Images) Platforms() []string {
	all := map[string]bool{}
	for _, platforms := range i {
		for platform := range platforms {
			all[platform] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Read reads a lock file. The error is or wraps fs.ErrNotExist when there is none, and an *Error when its content
// is wrong.
func Read(path string) (Images, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	return Parse(path, data)
}

// Write writes a lock file in place of an earlier one: a reader sees the old one or the new one. The same images
// always give the same bytes.
func Write(path string, images Images) (err error) {
	data, err := images.format()
	if err != nil {
		return fmt.Errorf("write lock file %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write lock file: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

func (i Images) format() ([]byte, error) {
	if i == nil {
		i = Images{}
	}
	// Maps are written in the order of their keys.
	data, err := json.MarshalIndent(struct {
		Version int    `json:"version"`
		Images  Images `json:"images"`
	}{version, i}, "", "  ")
	return append(data, '\n'), err
}
