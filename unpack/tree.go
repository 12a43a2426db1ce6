package unpack

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A tree turns the entries of one layer into files of a sink. It decides which name wins, what a
// whiteout hides, which directories are implied, and what is left to the fix-up layer.
type tree struct {
	layer  digest.Digest
	sink   sink
	budget *budget
	recipe *recorder // nil for a layer that does not come from a tar

	dirs      map[string]*dirState // every directory, the root as ""
	links     map[string]string    // hard links into lower layers, each held by a placeholder file
	whiteouts map[string]bool      // paths that .wh. files name
	opaque    map[string]bool      // directories with an opaque marker
	notes     notes                // complete after finish
}

// A dirState is a directory of the layer.
type dirState struct {
	declared *metadata // nil: implied by an entry in it
	opaque   bool      // hides the content of lower layers
	fresh    bool      // unrelated to a lower directory of its name, whose metadata it does not get
}

// newTree returns an empty tree that writes into dir, a directory of the store, in the given
// format; a small layer is written without goroutines. Release it with close.
func (s *Store) newTree(layer digest.Digest, dir string, format Format, small bool) (_ *tree, err error) {
	t := &tree{
		layer: layer,
		dirs:  map[string]*dirState{"": {}}, links: map[string]string{},
		whiteouts: map[string]bool{}, opaque: map[string]bool{},
	}
	if t.budget, err = newBudget(s.Limits.withDefaults(), dir); err != nil {
		return nil, err
	}
	switch format {
	case FormatErofs:
		t.sink, err = newImage(filepath.Join(dir, imageFile), t.budget, t.warn)
	default:
		t.sink, err = newDirectories(layer, filepath.Join(dir, fsDir), t.budget, small, t.warn)
	}
	if err != nil {
		t.budget.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() {
	t.sink.close()
	t.budget.close()
	if t.recipe != nil {
		t.recipe.close()
	}
}

// ensure makes the directory and its parents, where the layer does not have them.
func (t *tree) ensure(path string) error {
	if t.dirs[path] != nil {
		return nil
	}
	parent, _ := split(path)
	if err := t.ensure(parent); err != nil {
		return err
	}
	err := t.sink.mkdir(path)
	if errors.Is(err, unix.EEXIST) {
		return unix.ENOTDIR
	}
	if err != nil {
		return failed("create directory", err)
	}
	if err := t.budget.entry(); err != nil {
		return err
	}
	if path, err = t.budget.keep(path); err != nil {
		return err
	}
	t.dirs[path] = &dirState{}
	return nil
}

// replace calls create, which must not overwrite. When something is in the way, replace removes it
// and calls create again: the last entry of a name wins.
func (t *tree) replace(path string, create func() error) error {
	parent, _ := split(path)
	if err := t.ensure(parent); err != nil {
		return err
	}
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.remove(path); err != nil {
		return failed("replace", err)
	}
	return create()
}

// remove removes path and everything below it.
func (t *tree) remove(path string) error {
	if t.dirs[path] == nil {
		return t.removeFile(path)
	}
	names, err := t.sink.names(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.remove(path + "/" + name); err != nil {
			return err
		}
	}
	delete(t.dirs, path)
	return t.sink.remove(path, true)
}

func (t *tree) removeFile(path string) error {
	kind, err := t.sink.kind(path)
	if err != nil {
		return err
	}
	if _, placeholder := t.links[path]; kind == unix.S_IFREG && !placeholder && t.recipe != nil {
		t.recipe.lost = true
	}
	delete(t.links, path)
	return t.sink.remove(path, false)
}

// A warner records what could not be kept of a layer.
type warner func(format string, args ...any)

// warn is the tree's warner. It records each text once. The number of warnings is bounded: a layer
// of a million odd files is one problem.
func (t *tree) warn(format string, args ...any) {
	const most = 20
	if len(t.notes.Warnings) >= most {
		return
	}
	if text := fmt.Sprintf(format, args...); !slices.Contains(t.notes.Warnings, text) {
		t.notes.Warnings = append(t.notes.Warnings, text)
	}
}
