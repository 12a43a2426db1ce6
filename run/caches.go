package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// caches are the named caches of a state root: ROOT/caches/NAME/data. Runs share them,
// also at the same time. While one uses a cache it has a shared lock on
// ROOT/caches/NAME, whose time of modification says when it was used last.
type caches struct {
	root string
	mu   sync.Mutex
	held map[string]*os.File
}

func newCaches(root string) *caches { return &caches{root: root, held: map[string]*os.File{}} }

// CachesDir is the folder of the named caches of a state root.
func CachesDir(root string) string { return filepath.Join(root, "caches") }

// folder is a cache's folder, made when missing and held until close.
func (c *caches) folder(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := filepath.Join(CachesDir(c.root), filepath.Base(name))
	data := filepath.Join(dir, "data")
	if c.held[name] != nil {
		return data, nil
	}
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		lock, err := lockCache(dir, unix.LOCK_SH)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just been pruned
		}
		if err != nil {
			return "", err
		}
		c.held[name] = lock
		now := time.Now()
		return data, errors.Join(makeData(data), os.Chtimes(dir, now, now))
	}
}

// makeData makes the folder of a cache for any user, if it is missing. One that is there keeps its
// mode, which it may have from an image. The folder gets its name last: another run, which uses it as
// soon as it is there, must find it with its mode.
func makeData(data string) error {
	if _, err := os.Lstat(data); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(data), "new-")
	if err != nil {
		return err
	}
	err = os.Chmod(made, 0o777) // whatever the umask
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, data, unix.RENAME_NOREPLACE)
	}
	if err == nil {
		return nil
	}
	err = errors.Join(err, os.Remove(made))
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// lockCache locks a cache that is still at its name; fs.ErrNotExist says that it is not.
func lockCache(dir string, how int) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache %s: %w", filepath.Base(dir), err), file.Close())
	}
	mine, err := file.Stat()
	there, statErr := os.Stat(dir)
	if err := errors.Join(err, statErr); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if !os.SameFile(mine, there) {
		return nil, errors.Join(fs.ErrNotExist, file.Close())
	}
	return file, nil
}

func (c *caches) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var failed []error
	for _, file := range c.held {
		failed = append(failed, file.Close())
	}
	c.held = nil
	return errors.Join(failed...)
}

// PruneCaches removes the named caches of a state root that nobody uses now and nobody has
// used for the time olderThan, and returns their names.
func PruneCaches(root string, olderThan time.Duration) (removed []string, err error) {
	entries, err := os.ReadDir(CachesDir(root))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var failed []error
	for _, entry := range entries {
		dir := filepath.Join(CachesDir(root), entry.Name())
		lock, err := lockCache(dir, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		info, err := lock.Stat()
		if err == nil && time.Since(info.ModTime()) >= olderThan {
			if err = beneath.RemoveAll(dir); err == nil {
				removed = append(removed, entry.Name())
			}
		}
		failed = append(failed, err, lock.Close())
	}
	return removed, errors.Join(failed...)
}
