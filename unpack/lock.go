package unpack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock takes the file lock of key, which belongs to whoever unpacks it, in this process or another.
// It waits until ctx ends. Lock files stay: if one were removed, two processes could both hold
// "the" lock.
func (s *Store) lock(ctx context.Context, key string) (unlock func() error, err error) {
	f, err := s.openLock(key)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return f.Close, nil
	}
	// flock cannot be interrupted, so a goroutine waits for it. When ctx ends first, the goroutine
	// lives until the holder releases the lock or dies, and then releases it again.
	locked := make(chan error, 1)
	go func() { locked <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		return f.Close, nil
	case <-ctx.Done():
		go func() { <-locked; _ = f.Close() }() // nobody is left to report an error to
		return nil, context.Cause(ctx)
	}
}

// tryLock takes the lock of key if it is free.
func (s *Store) tryLock(key string) (unlock func() error, ok bool, err error) {
	f, err := s.openLock(key)
	if err != nil {
		return nil, false, err
	}
	ok, err = tryFlock(f)
	if ok {
		return f.Close, true, nil
	}
	return nil, false, errors.Join(err, f.Close())
}

// tryFlock takes the exclusive lock of the file, or of the directory, if it is free.
func tryFlock(f *os.File) (ok bool, err error) {
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return true, nil
}

func (s *Store) openLock(key string) (*os.File, error) {
	path := filepath.Join(s.root, "locks", key)
	if s.look {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a FIFO would wait for a writer
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, unix.EROFS) { // a read-only store can still be read
		return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	return f, err
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
