package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A Store holds what it hands out: a shared file lock (flock(2)) on the directory of every layer that Unpack or
// Lowerdirs returned, and on the lock file of every image that Use named, until Close or the end of the process.
// Who removes one needs the exclusive lock and does without when it is not to be had. So a layer is either held
// before it is called present, or gone.

// Use says that the image is used now, for the order in which Prune removes images, and keeps its record from being
// removed until Close. The record need not be there yet.
func (s *Store) Use(reference, platform string) error {
	wrap := func(err error) error { return fmt.Errorf("use image %s: %w", reference, err) }
	key := imageLock(reference, platform)
	if err := s.holdLock(key); err != nil {
		return wrap(err)
	}
	// The time of the file, and not a field in it: two processes that write the record would lose one's change.
	now := time.Now()
	err := os.Chtimes(s.imagePath(reference, platform), now, now)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	return nil
}

func (s *Store) holdLock(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key] != nil {
		return nil
	}
	f, err := s.openLock(key)
	if err != nil {
		return err
	}
	// Who has the exclusive lock removes a record, a matter of microseconds.
	if err := flock(f, unix.LOCK_SH); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	s.held[key] = f
	return nil
}

// hold reports whether the directory is a finished layer, and if so keeps it from being removed until Close.
func (s *Store) hold(dir string) (ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[dir] != nil {
		return true, nil
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() {
		if !ok {
			err = errors.Join(err, f.Close())
		}
	}()
	// Who has the exclusive lock is about to rename the directory and lets go at once.
	if err := flock(f, unix.LOCK_SH); err != nil {
		return false, fmt.Errorf("lock %s: %w", dir, err)
	}
	// The lock is on the directory that was opened. It counts only if that still has the name.
	same, err := isAt(f, dir)
	if err != nil || !same || !s.trusted(dir) {
		return false, err
	}
	s.held[dir] = f
	return true, nil
}

// isAt reports whether the path leads to the open file.
func isAt(f *os.File, path string) (bool, error) {
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, there), err
}

// Close lets go of all that the Store handed out. Call it when nothing of it is mounted any more; the Store is of
// no use afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []error
	for _, f := range s.held {
		failed = append(failed, f.Close())
	}
	clear(s.held)
	return errors.Join(failed...)
}

// A directory is a layer, or the fix-up layer of an image, as the store keeps it.
type directory struct {
	key  string // of its lock, and its name in tmp
	path string
}

// directories returns all layers and fix-up layers that are in the store.
func (s *Store) directories() ([]directory, error) {
	var all []directory
	for _, kind := range []struct{ parent, prefix string }{{"layers/sha256", ""}, {"fixups", fixupPrefix}} {
		parent := filepath.Join(s.root, kind.parent)
		entries, err := os.ReadDir(parent)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, directory{kind.prefix + e.Name(), filepath.Join(parent, e.Name())})
		}
	}
	return all, nil
}
