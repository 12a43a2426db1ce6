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

// A Store holds everything that it hands out: until Close, or the end of the process, it keeps a
// shared file lock (flock(2)) on the directory of every layer that Unpack or Lowerdirs returned,
// and on the lock file of every image passed to Use. A process that removes one needs the exclusive
// lock, and leaves it alone when it cannot get that lock. So a layer is either held before it is
// reported as present, or gone.

// Use marks the image as used now, which decides the order in which Prune removes images, and
// protects its record from removal until Close. The record need not exist yet.
func (s *Store) Use(reference, platform string) error {
	wrap := func(err error) error { return fmt.Errorf("use image %s: %w", reference, err) }
	key := imageLock(reference, platform)
	if err := s.holdLock(key); err != nil {
		return wrap(err)
	}
	// The time is the file's modification time and not a field: of two processes that rewrite the
	// record, one would lose the other's change.
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
	// The holder of the exclusive lock is removing a record, which takes microseconds.
	if err := flock(f, unix.LOCK_SH); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	s.held[key] = f
	return nil
}

// hold reports whether the directory is a finished layer, and if so protects it from removal until
// Close.
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
	// The holder of the exclusive lock is about to rename the directory and releases the lock right
	// after.
	if err := flock(f, unix.LOCK_SH); err != nil {
		return false, fmt.Errorf("lock %s: %w", dir, err)
	}
	// The lock is on the directory that was opened. It counts only if the path still leads to that
	// directory.
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

// Close releases everything that the Store handed out. Call it when none of it is mounted any more;
// the Store cannot be used afterwards. It waits for writes to the disk that have begun.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []error
	if s.disk != nil {
		failed = append(failed, s.disk.close())
	}
	for _, f := range s.held {
		failed = append(failed, f.Close())
	}
	clear(s.held)
	return errors.Join(failed...)
}

// A directory is a layer, or the fix-up layer of an image, in the store.
type directory struct {
	key  string // names its lock and its place in tmp
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
