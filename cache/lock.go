package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock locks the store, and waits for it until ctx ends. The error is fs.ErrNotExist if there is no
// store and none is to be made.
func (s *Store) lock(ctx context.Context, how int, create bool) (unlock func(), err error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	file, err := os.OpenFile(filepath.Join(s.dir, "lock"), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if flock(file, how|unix.LOCK_NB) == nil {
		return func() { file.Close() }, nil
	}
	// flock cannot be interrupted, so a goroutine waits for it. When ctx ends first, the goroutine
	// lives until the holder releases the lock or dies, and then releases it again.
	locked := make(chan error, 1)
	go func() { locked <- flock(file, how) }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the caches: %w", err), file.Close())
		}
		return func() { file.Close() }, nil
	case <-ctx.Done():
		go func() { <-locked; file.Close() }() // nobody is left to report an error to
		return nil, fmt.Errorf("wait for others that use the caches: %w", context.Cause(ctx))
	}
}

func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
