package actions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// BuildLimits say when the storage of builds is removed. It is a cache, removed as a whole.
type BuildLimits struct {
	All       bool          // always
	OlderThan time.Duration // when nothing was built for this long; 0: whatever its age
	KeepBytes int64         // when it is larger than this; 0: whatever its size
}

// PruneBuilds removes the storage of the builds of a state root if a limit is exceeded, and returns
// how many bytes on disk that frees. While somebody builds, it stays.
func PruneBuilds(ctx context.Context, root string, limits BuildLimits) (freed int64, err error) {
	lock, err := tryLockFolder(buildsOf(root))
	if lock == nil || err != nil {
		return 0, err
	}
	defer lock.Close()
	b := &builder{dir: buildsOf(root)}
	if err := b.clearKilled(ctx, root); err != nil {
		return 0, err
	}
	return b.prune(limits)
}

// ClearBuilds clears away what a build that was killed has left in a state root, unless somebody
// builds there now.
func ClearBuilds(ctx context.Context, root string) error {
	_, err := PruneBuilds(ctx, root, BuildLimits{})
	return err
}

// clearKilled clears away what a build that was killed has left. The caller has the lock.
func (b *builder) clearKilled(ctx context.Context, root string) error {
	if _, err := os.Lstat(b.temporary()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	full, err := newBuilder(root)
	if err != nil {
		return fmt.Errorf("a build was killed: %w", err)
	}
	return full.clear(ctx)
}

// prune removes the storage if a limit is exceeded. The caller has the lock.
func (b *builder) prune(limits BuildLimits) (freed int64, err error) {
	info, err := os.Stat(b.dir) // each build makes and removes a folder in it
	if err != nil {
		return 0, err
	}
	isOld := limits.OlderThan > 0 && time.Since(info.ModTime()) > limits.OlderThan
	if !limits.All && !isOld && limits.KeepBytes == 0 {
		return 0, nil
	}
	bytes, err := diskUsage(b.dir)
	if err != nil || !limits.All && !isOld && bytes <= limits.KeepBytes {
		return 0, err
	}
	for _, name := range []string{storageName, runName} {
		if err := beneath.RemoveAll(filepath.Join(b.dir, name)); err != nil {
			return 0, fmt.Errorf("remove the storage of builds: %w", err)
		}
	}
	left, err := diskUsage(b.dir)
	return bytes - left, err
}

// diskUsage is how many bytes a folder takes up on disk.
func diskUsage(folder string) (bytes int64, err error) {
	dir, err := os.Open(folder)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	err = beneath.Walk(dir, beneath.Visitor{Entry: func(dir *os.File, name string) (enter bool, err error) {
		var stat unix.Stat_t
		err = unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
		bytes += stat.Blocks * 512
		return stat.Mode&unix.S_IFMT == unix.S_IFDIR, err
	}})
	return bytes, err
}
