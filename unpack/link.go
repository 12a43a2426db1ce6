package unpack

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// addLink makes a hard link. It ignores the entry's metadata: a link has its target's, and applying
// another would change a file through its other name.
func (t *tree) addLink(path, linkname string) error {
	op := fmt.Sprintf("link to %.300q", linkname)
	target, err := cleanName(linkname, t.budget.limits.Depth)
	if err != nil {
		return failed(op, err)
	}
	if target, err = t.through(target); err != nil {
		return failed(op, err)
	}
	// A name above its target would be removed to make room for the link, and the target with it; a
	// target above the name is a directory.
	if t.dirs[target] != nil || strings.HasPrefix(target, path+"/") || strings.HasPrefix(path, target+"/") {
		return failed(op, unix.EISDIR)
	}
	if lower, ok := t.links[target]; ok && path != target {
		return t.linkBelow(path, lower)
	}
	exists, err := t.exists(target)
	switch {
	case err != nil:
		return failed(op, err)
	case path == target && exists: // this is how tar stores a name that it was given twice
		return nil
	case path == target:
		return failed(op, errLinkTarget)
	case !exists:
		return t.linkBelow(path, target)
	}
	return failed(op, t.replace(path, func() error { return t.sink.link(path, target) }))
}

// exists reports whether the layer has a file at path. It returns an error when the layer has
// something other than a directory above path, because then no lower layer can have a visible file
// there either.
func (t *tree) exists(path string) (bool, error) {
	dir, _ := split(path)
	if t.dirs[dir] == nil {
		blocked, err := t.blocked(path)
		if blocked {
			err = errLinkTarget
		}
		return false, err
	}
	_, err := t.sink.kind(path)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// linkBelow notes a hard link to a file that this layer does not have. An empty file holds the
// place until finish, so that later entries of the same name find something there.
func (t *tree) linkBelow(path, target string) error {
	path, err := t.budget.keep(path)
	if err != nil {
		return err
	}
	if target, err = t.budget.keep(target); err != nil {
		return err
	}
	err = t.replace(path, func() error { return t.sink.file(path, metadata{}, strings.NewReader(""), 0, false) })
	if err != nil {
		return failed("create", err)
	}
	t.links[path] = target
	return nil
}

// noteLinks replaces the placeholders with whiteouts: whatever lower layers have there must not
// merge with a directory of a higher layer. The fix-up layer adds the link itself.
func (t *tree) noteLinks() error {
	for _, path := range slices.Sorted(maps.Keys(t.links)) {
		err := t.sink.remove(path, false)
		if err == nil {
			err = t.sink.whiteout(path)
		}
		if err != nil {
			return t.entryError(path, err)
		}
		t.notes.Links = append(t.notes.Links, lowerLink{layerPath(path), layerPath(t.links[path])})
	}
	return nil
}
