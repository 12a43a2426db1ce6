package pull

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/beneath"
)

// An ArchivedImage is one image of an archive.
type ArchivedImage struct {
	Reference Reference // resolves to the image
	// Names are the image names in the archive, unchecked, without names that are only a tag.
	Names []string
}

// Called reports whether name means one of the image's names; name may be only a tag.
func (i ArchivedImage) Called(name string) bool {
	return slices.ContainsFunc(i.Names, func(n string) bool { return tagMatches(n, name) })
}

// Archived lists the images of an archive, which was written by `docker save` or is the tar of an
// OCI image layout. Docker writes archives that are both; they count as docker's. Errors do not
// name the file.
func Archived(file string) (images []ArchivedImage, err error) {
	a, err := openArchive(beneath.At(file))
	if err != nil {
		return nil, err
	}
	images, err = archived(a, file)
	return images, errors.Join(err, a.Close())
}

func archived(a *archive, file string) ([]ArchivedImage, error) {
	raw, err := readFile(a, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return archivedLayout(a, Reference{Scheme: SchemeOCIArchive, Path: file})
	}
	if err != nil {
		return nil, err
	}
	saved, err := parseSaved(raw)
	if err != nil {
		return nil, err
	}
	var images []ArchivedImage
	for _, s := range saved {
		images = append(images, archivedImage(Reference{Scheme: SchemeDockerArchive, Path: file}, s.RepoTags))
	}
	return images, nil
}

func archivedLayout(a *archive, ref Reference) ([]ArchivedImage, error) {
	if len(a.entries) == 0 {
		return nil, errors.New("it is empty (did the program that writes it fail?)")
	}
	if err := checkLayout(a); err != nil {
		return nil, fmt.Errorf("it has no file manifest.json as docker save writes it, and %w", err)
	}
	entries, err := (&layout{files: a, ref: ref}).entries()
	if err != nil {
		return nil, err
	}
	var images []ArchivedImage
	seen := map[string]bool{}
	for _, entry := range entries {
		names := entryNames(entry)
		key := strings.Join(names, "\x00")
		if !seen[key] { // otherwise it is another platform of the same image
			seen[key] = true
			images = append(images, archivedImage(ref, names))
		}
	}
	return images, nil
}

func archivedImage(ref Reference, names []string) ArchivedImage {
	image := ArchivedImage{Reference: ref}
	for _, name := range names {
		if !tagPattern().MatchString(name) {
			image.Names = append(image.Names, name)
		}
	}
	switch {
	case len(image.Names) > 0:
		image.Reference.Tag = image.Names[0]
	case len(names) > 0:
		image.Reference.Tag = names[0]
	}
	return image
}
