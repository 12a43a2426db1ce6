package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/go-runc"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/rootless"
)

// Reap clears away whatever dead runs below a state root have left, and returns their names. It
// also removes empty cgroups of runs that have ended, below any state root. The error says what
// could not be cleared away, or is ErrNoRuntime or ErrPrivilege; the rest can be tried again.
func Reap(ctx context.Context, o Options) (cleared []string, err error) {
	runtime, err := findRuntime(o.Runtime)
	if err != nil {
		return nil, err
	}
	if err := CheckPrivilege(); err != nil {
		return nil, err
	}
	all, err := lockRuns(o.Root, unix.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cleared, err = reap(ctx, runtime, all.Name())
	err = errors.Join(err, all.Close()) // stray groups are old: they belong to no run that is just starting
	trees, listErr := listHierarchies()
	return cleared, errors.Join(err, listErr, removeStrayGroups(trees, all.Name(), time.Now()))
}

// lockRuns opens the folder of all runs and waits for its lock. Held exclusively, it keeps a run
// that is just starting from looking like a dead one. Held shared, it lets several processes look
// at the same time.
func lockRuns(root string, how int) (*os.File, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return openLocked(filepath.Join(root, "runs"), how)
}

// reap removes the runs whose process is gone, which their free locks show. The error describes
// runs that could not be removed; it is no reason not to begin another one.
func reap(ctx context.Context, runtime, runs string) (cleared []string, err error) {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, entry := range entries {
		dir := filepath.Join(runs, entry.Name())
		lock, err := openLocked(dir, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // it is alive, its guard is at work, or it has just ended
		}
		if err == nil {
			err = errors.Join(clearAway(ctx, runtime, dir), lock.Close())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("clear away run %s, which died: %w", entry.Name(), err))
			continue
		}
		cleared = append(cleared, entry.Name())
	}
	return cleared, errors.Join(failed...)
}

// clearAway removes whatever a dead run has left: its containers, their groups, its network, its
// mounts and its directory. The caller holds the run's lock. After an error, or after it was itself
// killed at any point, it can be called again.
func clearAway(ctx context.Context, runtime, dir string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runtimeTimeout)
	defer cancel()
	if err := killProcesses(ctx, dir); err != nil {
		return err // everything needed to kill them stays
	}
	if err := deleteContainers(ctx, runtime, dir); err != nil {
		return err
	}
	if err := removeGroups(dir); err != nil {
		return err
	}
	return endRun(func() (bool, error) { return sweepNetworks(dir) }, dir)
}

// endRun removes a run whose containers are gone: its network and then its directory, unless the
// directory is needed to try the network again.
func endRun(down func() (left bool, err error), dir string) error {
	left, err := down()
	if left {
		return err
	}
	return errors.Join(err, removeRun(dir))
}

// deleteContainers deletes every container of a dead run. The run may have used another runtime,
// but all runtimes keep a container's state in a folder with the container's name. Other folders
// there belong to other runs.
func deleteContainers(ctx context.Context, command, dir string) error {
	root := runtimeRoot(dir)
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	runtime := &runc.Runc{Command: command, Root: root, Setpgid: true}
	var failed []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(dir)+"-") {
			continue
		}
		failed = append(failed, runtime.Delete(ctx, entry.Name(), &runc.DeleteOpts{Force: true}))
	}
	return errors.Join(failed...)
}

// removeRun unmounts everything of a run, deepest mounts first, and deletes its directories.
func removeRun(dir string) error {
	if err := unmountBelow(dir); err != nil {
		// Anything still mounted may be a directory of the host: never delete into it.
		return err
	}
	if !rootless.InNamespace() { // in a namespace it is root's folder, which may be closed to the user
		if err := removeMapped(filepath.Join(mappedRoot, filepath.Base(dir))); err != nil {
			return err
		}
	}
	if err := removeCgroupParents(dir); err != nil {
		return err // the list of them stays for the next attempt
	}
	return beneath.RemoveAll(dir)
}

// removeMapped removes the folder of a run's steps with user namespaces. Most runs have none, and the list of all
// mounts may be long.
func removeMapped(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return beneath.RemoveAll(dir)
}

func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var failed []error
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil {
			failed = append(failed, fmt.Errorf("unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(failed...)
}
