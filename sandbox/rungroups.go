package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// runGroups are the cgroups of a run's containers in every tree.
func runGroups(dir string) ([]string, error) {
	trees, err := listHierarchies()
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, cgroupParents))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var groups []string
	parents := append(strings.Fields(string(list)), "/", "/system.slice")
	for _, tree := range trees {
		for _, parent := range parents {
			within := filepath.Join(tree.mountpoint, parent)
			entries, err := os.ReadDir(within)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			for _, entry := range entries {
				if strings.HasPrefix(entry.Name(), cgroupName(filepath.Base(dir))+"-") {
					groups = append(groups, filepath.Join(within, entry.Name()))
				}
			}
		}
	}
	return groups, nil
}

// killCgroups kills every process of a run's containers and waits until they
// are dead. A runtime would kill one container after the other, 100 ms each.
func killCgroups(ctx context.Context, dir string) error {
	groups, err := runGroups(dir)
	if err != nil {
		return err
	}
	for _, group := range groups { // all, before any process is waited for: it may be frozen by another tree's
		if err := thawGroup(group); err != nil {
			return err
		}
	}
	for _, group := range groups {
		for {
			killed, err := killCgroup(group)
			if err = errors.Join(err, context.Cause(ctx)); err != nil {
				return fmt.Errorf("kill the processes of %s: %w", group, err)
			}
			if !killed {
				break
			}
		}
	}
	return nil
}

func thawGroup(group string) error {
	if _, err := os.Stat(filepath.Join(group, "freezer.state")); err != nil {
		return nil //nolint:nilerr // the group of another tree, or gone
	}
	return cgroup{v1: map[string]string{"freezer": group}}.thaw()
}

// killCgroup kills the processes that are in a group, and in those that a step
// may have made below it, and reports whether there were any.
func killCgroup(group string) (killed bool, err error) {
	err = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // whoever makes the container, or another look at the group, has removed it
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		some, err := cgroup{dir: path}.kill()
		killed = killed || some
		return err
	})
	return killed, err
}

// kill kills the processes of one group. A pid is used only after a descriptor
// holds its process and it is seen in the group again. One that does not die,
// in a system call that cannot be cut short, is not waited for here.
func (c cgroup) kill() (killed bool, err error) {
	first, err := c.pids()
	if err != nil {
		return false, ignoreGone(err)
	}
	for pid := range first {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has just ended
		}
		again, err := c.pids()
		if err == nil && again[pid] {
			if err = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err == nil {
				killed = true
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 1000)
			}
		}
		unix.Close(pidfd)
		if err := ignoreGone(err); err != nil {
			return killed, err
		}
	}
	return killed, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// removeGroups removes the groups that a runtime has left, which it does when
// it is killed itself.
func removeGroups(dir string) error {
	groups, err := runGroups(dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, group := range groups {
		var below []string
		failed = append(failed, filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				below = append(below, path)
			}
			return ignoreGone(err)
		}))
		for i := len(below) - 1; i >= 0; i-- {
			failed = append(failed, ignoreGone(unix.Rmdir(below[i])))
		}
	}
	return errors.Join(failed...)
}
