package unpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A pin keeps layers in the store that no process holds: ROOT/pins/NAME has their keys, one a line. What is pinned
// counts as needed, as by one more image.

// Pin protects the layers that Unpack or Lowerdirs returned, and that this Store still holds, from
// removal until Unpin. It skips directories that are not layers of the store. It waits, until ctx
// ends, for a process that removes images.
func (s *Store) Pin(ctx context.Context, name string, lowerdirs []string) (err error) {
	wrap := func(err error) error { return fmt.Errorf("pin layers for %s: %w", name, err) }
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return wrap(errors.New("not a file name"))
	}
	var keys strings.Builder
	for _, dir := range lowerdirs {
		if key := s.keyOf(dir); key != "" {
			keys.WriteString(key + "\n")
		}
	}
	unlock, err := s.lock(ctx, imagesLock) // a removal sees the pin, or finds the layers held
	if err != nil {
		return wrap(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := privateDir(s.pins()); err != nil {
		return wrap(err)
	}
	if err := writeSynced(filepath.Join(s.pins(), name), []byte(keys.String())); err != nil {
		return wrap(err)
	}
	return nil
}

// Unpin ends Pin: the layers stay until a Prune. A pin that does not exist is not an error.
func (s *Store) Unpin(name string) error {
	err := os.Remove(filepath.Join(s.pins(), filepath.Base(name)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin layers: %w", err)
	}
	return nil
}

// Pins returns the names of all pins.
func (s *Store) Pins() ([]string, error) {
	entries, err := os.ReadDir(s.pins())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pinned layers: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Hold protects layers in the store, such as pinned ones, from removal until Close, and reports
// whether all of them are there.
func (s *Store) Hold(lowerdirs []string) (ok bool, err error) {
	for _, dir := range lowerdirs {
		if s.keyOf(dir) == "" {
			continue
		}
		if held, err := s.hold(filepath.Dir(dir)); err != nil || !held {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) pins() string { return filepath.Join(s.root, "pins") }

// keyOf returns the key of the layer, or fix-up layer, that the lower directory or image belongs
// to, or "" for any other path.
func (s *Store) keyOf(lowerdir string) string {
	dir := filepath.Dir(lowerdir)
	switch filepath.Dir(dir) {
	case filepath.Join(s.root, "layers/sha256"):
		return filepath.Base(dir)
	case filepath.Join(s.root, "fixups"):
		return fixupPrefix + filepath.Base(dir)
	}
	return ""
}

// pinned counts the layers that pins need.
func (r *removal) pinned() error {
	names, err := r.store.Pins()
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(r.store.pins(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // unpinned in the meantime
		}
		if err != nil {
			return err
		}
		for key := range strings.FieldsSeq(string(data)) {
			r.needs[key]++
		}
	}
	return nil
}
