package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Settle writes the store's file system to disk, once. From then on, the layers that were complete
// when it was called are trusted even after a power loss; without it they are unpacked again after
// the next boot. Call it when nothing urgent waits: it may take seconds. Once a write to the disk
// has failed, every call returns an error.
func (s *Store) Settle() error {
	// The list comes before the sync: every layer in it was complete, so the sync covers all of it.
	markers, err := s.unsettled()
	if err != nil {
		return fmt.Errorf("settle layer store %s: %w", s.root, err)
	}
	if len(markers) == 0 {
		return nil
	}
	if err := s.disk.sync(); err != nil {
		return fmt.Errorf("settle layer store %s: %w", s.root, err)
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

// earlyBytes is the number of compressed bytes between two early syncs. Smaller images have none.
const earlyBytes = 8 << 20

// A disk is the file system of a store. While layers are unpacked, it is synced in the background
// every now and then, and Settle has little left to write: otherwise the disk would have nothing to
// do first, and then the processors.
type disk struct {
	arrived atomic.Int64   // compressed bytes since the last early sync was begun
	early   atomic.Bool    // an early sync is going on
	ended   sync.WaitGroup // early syncs

	mu sync.Mutex // held while syncing
	// dir is a directory that was opened before the first write: syncfs(2) reports a failed write
	// once to each descriptor that was open then. One opened later would miss it if another process
	// had heard of it already.
	dir *os.File
	err error // of the first sync that failed: whatever was lost then, no later sync writes it
}

// sync returns once everything that was written before is on disk.
func (d *disk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := unix.Syncfs(int(d.dir.Fd())); d.err == nil && err != nil {
		d.err = fmt.Errorf("syncfs: %w", err)
	}
	return d.err
}

// add counts compressed bytes that have been unpacked, and begins an early sync when it is time. It
// does not wait for it.
func (d *disk) add(bytes int64) {
	if d.arrived.Add(bytes) < earlyBytes || !d.early.CompareAndSwap(false, true) {
		return
	}
	d.arrived.Store(0)
	d.ended.Go(func() {
		_ = d.sync() // Settle returns the error
		d.early.Store(false)
	})
}

// close waits for early syncs. It may be called more than once, as Store.Close may.
func (d *disk) close() error {
	d.ended.Wait()
	if err := d.dir.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
