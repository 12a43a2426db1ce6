package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/pull"
)

// ErrNameless means that an archive does not name an image.
var ErrNameless = errors.New("the archive does not name the image")

// Load puts the images of an archive into the store, under every name that the
// archive gives them. The archive is one that `docker save` or `podman save`
// wrote, or the tar of an OCI image layout. When name is not "", only the image
// of that name is loaded; an archive's only image gets the name if the archive
// gives it none. Load returns ErrNameless when an image has no name.
func (f *Fetcher) Load(ctx context.Context, file, name string) ([]*Image, error) {
	ref, err := f.Parse((pull.Reference{Scheme: pull.SchemeOCIArchive, Path: file}).String())
	if err != nil {
		return nil, err
	}
	chosen, err := chooseArchived(ref.Path, name)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", ref.Path, err)
	}
	var images []*Image
	for _, c := range chosen {
		loaded, err := f.loadOne(ctx, c)
		images = append(images, loaded...)
		if err != nil {
			return images, err
		}
	}
	return images, nil
}

func (f *Fetcher) loadOne(ctx context.Context, image pull.ArchivedImage) (images []*Image, err error) {
	source, err := f.resolve(ctx, image.Reference)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	for _, name := range image.Names {
		image, err := f.report(name, func(f *Fetcher) (*Image, error) { return f.keep(ctx, source, name, nil) })
		if err != nil {
			return images, err
		}
		images = append(images, image)
	}
	return images, nil
}

// chooseArchived returns the images to load, with their names in full. It checks
// all names before anything is loaded.
func chooseArchived(file, name string) ([]pull.ArchivedImage, error) {
	all, err := pull.Archived(file)
	if err != nil {
		return nil, err
	}
	var chosen []pull.ArchivedImage
	for _, image := range all {
		if name == "" || image.Called(name) {
			chosen = append(chosen, image)
		}
	}
	if len(chosen) == 0 && len(all) == 1 && len(all[0].Names) == 0 {
		all[0].Names = []string{name}
		chosen = all
	}
	if len(chosen) == 0 {
		return nil, noneArchived(all, name)
	}
	for i, image := range chosen {
		if chosen[i].Names, err = fullNames(image); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

func noneArchived(all []pull.ArchivedImage, name string) error {
	if len(all) == 0 {
		return errors.New("the archive is empty")
	}
	var names []string
	for _, image := range all {
		for _, n := range image.Names {
			names = append(names, fmt.Sprintf("%.100q", n))
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("image %s: %w: the archive has %d images without a name", name, ErrNameless, len(all))
	}
	return fmt.Errorf("image %s: %w (the archive has %s)", name, pull.ErrNotFound, strings.Join(names[:min(len(names), 20)], ", "))
}

// fullNames returns the names of an image in full. The archive chooses them, so a
// name that is not a registry's, such as oci:/etc, is refused: it would pass for
// an image of this machine.
func fullNames(image pull.ArchivedImage) ([]string, error) {
	if len(image.Names) == 0 {
		return nil, fmt.Errorf("%w (name it: stepexec load FILE NAME; or use it as it is: image: %s)", ErrNameless, image.Reference)
	}
	var names []string
	for _, name := range image.Names {
		named, err := pull.ParseReference(name)
		if err != nil {
			return nil, err
		}
		if !lockable(named) {
			return nil, fmt.Errorf("image %q: the name in the archive must be REPOSITORY:TAG", name)
		}
		names = append(names, named.String())
	}
	return names, nil
}
