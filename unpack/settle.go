package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Settle writes the store's file system to disk, once. From then on, the layers that were complete
// when it was called are trusted even after a power loss; without it they are unpacked again after
// the next boot. Call it when nothing urgent waits: it may take seconds.
func (s *Store) Settle() error {
	// The list comes before the sync: every layer in it was complete, so the sync covers all of it.
	markers, err := s.unsettled()
	if err != nil {
		return fmt.Errorf("settle layer store %s: %w", s.root, err)
	}
	if len(markers) == 0 {
		return nil
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("settle layer store %s: syncfs: %w", s.root, err)
	}
	for _, marker := range markers {
		// Another process may settle the same layer.
		if err := os.Remove(marker); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("settle layer store: %w", err)
		}
	}
	return nil
}

// unsettled returns the markers of this boot. Those of an earlier boot stay, because their layers
// are lost.
func (s *Store) unsettled() ([]string, error) {
	var markers []string
	for _, parent := range []string{"layers/sha256", "fixups"} {
		dir := filepath.Join(s.root, parent)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			marker := filepath.Join(dir, e.Name(), unsettledFile)
			boot, err := os.ReadFile(marker)
			if err == nil && string(boot) == s.bootID {
				markers = append(markers, marker)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return markers, nil
}

func (s *Store) sync() error {
	f, err := os.Open(s.root)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
