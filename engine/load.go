package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepexec/stepexec/pull"
)

// ErrNameless says that an archive does not name its image.
var ErrNameless = errors.New("the archive does not name the image")

// Load puts an image of an archive that `docker save` wrote into the store,
// under every name that the archive gives it. tag says which image, and may be
// "" when there is one only. It returns ErrNameless when there is no name.
func (f *Fetcher) Load(ctx context.Context, file, tag string) ([]*Image, error) {
	ref, err := f.parse((pull.Reference{Scheme: pull.SchemeDockerArchive, Path: file, Tag: tag}).String())
	if err != nil {
		return nil, err
	}
	names, err := f.archivedNames(ctx, ref)
	if err != nil {
		return nil, err
	}
	var images []*Image
	for _, name := range names {
		image, err := f.pull(ctx, ref.String(), name)
		if err != nil {
			return images, err
		}
		images = append(images, image)
	}
	return images, nil
}

// archivedNames returns the names of an image in full. They come from the
// archive: one that is not a registry's, such as oci:/etc, would pass for an
// image of this machine.
func (f *Fetcher) archivedNames(ctx context.Context, ref pull.Reference) ([]string, error) {
	source, err := f.resolve(ctx, ref.String())
	if err != nil {
		return nil, err
	}
	if err := source.Close(); err != nil {
		return nil, err
	}
	var saved struct{ RepoTags []string }
	if err := json.Unmarshal(source.RawManifest, &saved); err != nil {
		return nil, fmt.Errorf("load %s: %w", ref, err)
	}
	var names []string
	for _, tag := range saved.RepoTags {
		named, err := pull.ParseReference(tag)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", ref, err)
		}
		if !lockable(named) {
			return nil, fmt.Errorf("load %s: it names the image %q, which is no name with a tag", ref, tag)
		}
		names = append(names, named.String())
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("load %s: %w (use it as it is: image: %s)", ref, ErrNameless, ref)
	}
	return names, nil
}
