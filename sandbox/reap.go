package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/go-runc"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// reap takes away the runs whose process is gone: a free lock says so. The
// error is about runs that could not be taken away; it is no reason not to
// begin another one.
func (h *Host) reap(ctx context.Context, runs string) error {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		dir := filepath.Join(runs, entry.Name())
		lock, err := lockDir(dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err == nil {
			err = errors.Join(h.clearAway(ctx, dir), lock.Close())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("clear away run %s, which died: %w", entry.Name(), err))
		}
	}
	return errors.Join(failed...)
}

func (h *Host) clearAway(ctx context.Context, dir string) error {
	if err := h.killContainers(ctx, runtimeRoot(dir)); err != nil {
		return err // what is needed to kill them stays
	}
	return endRun(newPrivateNetwork(dir, ""))
}

// endRun removes a run whose containers are gone: its network and then its
// directory, unless that holds what is needed to try the network again.
func endRun(network *privateNetwork) error {
	err := network.down()
	if network.isRecorded() {
		return err
	}
	return errors.Join(err, removeRun(network.runDir))
}

// killContainers deletes every container of a dead run. Its runtime may have
// been another one; all of them keep a container's state in a folder that has
// the container's name.
func (h *Host) killContainers(ctx context.Context, root string) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	runtime := &runc.Runc{Command: h.runtime, Root: root}
	var failed []error
	for _, entry := range entries {
		failed = append(failed, runtime.Delete(ctx, entry.Name(), &runc.DeleteOpts{Force: true}))
	}
	return errors.Join(failed...)
}

// removeRun unmounts everything below a run's directory, deepest first, and
// deletes it.
func removeRun(dir string) error {
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
	if len(failed) > 0 {
		// What is still mounted may be a host directory: never delete into it.
		return errors.Join(failed...)
	}
	if err := removeCgroupParents(dir); err != nil {
		return err // the list of them stays for the next try
	}
	return os.RemoveAll(dir)
}
